/** Scopes: what was opened is closed, newest first. @module */
export * from "./charge.ts";
export * from "./errors.ts";
export * from "./events.ts";
export * from "./listing.ts";
export * from "./operations.ts";
export * from "./scope.ts";
export * from "./signal.ts";
export * from "./site.ts";
export * from "./time_scale.ts";
export * from "./tolerance.ts";
