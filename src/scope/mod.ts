/** Scopes: what was opened is closed, newest first. @module */
export * from "./errors.ts";
export * from "./events.ts";
export * from "./scope.ts";
export * from "./site.ts";
