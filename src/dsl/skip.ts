/** Thrown by `t.skip()` to leave the test; the test counts as skipped even if this is caught. */
export class SkipError extends Error {
  override readonly name = "SkipError";
  /** The context whose `skip()` was called. */
  readonly owner: object;

  constructor(reason: string, owner: object) {
    super(reason);
    this.owner = owner;
  }
}
