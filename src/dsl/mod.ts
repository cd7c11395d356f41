/** Tests, hooks, and what runs them. @module */
export * from "./assertions.ts";
export * from "./classify.ts";
export * from "./context.ts";
export * from "./each.ts";
export * from "./hooks.ts";
export * from "./meta.ts";
export * from "./observer.ts";
export * from "./registry.ts";
export * from "./retries.ts";
export * from "./run_file.ts";
export * from "./run_hook.ts";
export * from "./run_test.ts";
export * from "./select.ts";
export * from "./shuffle.ts";
export * from "./skip.ts";
export * from "./test.ts";
export * from "./time_limit.ts";
