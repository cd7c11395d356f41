/** Plain values that options and results are made of: durations, sizes, signals, errnos, option tables. @module */
export * from "./closest.ts";
export * from "./duration.ts";
export * from "./errno.ts";
export * from "./options.ts";
export * from "./signal.ts";
export * from "./size.ts";
