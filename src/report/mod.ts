/** Events of a run, and what shows them. @module */
export * from "./error_info.ts";
export * from "./escape.ts";
export * from "./events.ts";
export * from "./make_reporter.ts";
export * from "./reporter.ts";
export * from "./style.ts";
export * from "./tally.ts";
