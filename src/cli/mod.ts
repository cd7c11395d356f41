/** The `belljar` command line. @module */
export * from "./tree.ts";
