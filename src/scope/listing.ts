let listing = false;

/** Says that test files are loaded only to list their tests: machines must not be started. */
export function setListing(on: boolean): void {
  listing = on;
}

/** Whether test files are loaded only to list their tests; `boot()` rejects with a `ListingError` then. */
export function isListing(): boolean {
  return listing;
}
