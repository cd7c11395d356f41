/** Loads test files: from disk into the compiled binary, which reads no TypeScript, and by their imports. @module */
export * from "./deno_test_refusal.ts";
export { EMBEDDED, EMBEDDED_NAMES, type EmbeddedPackage } from "./embedded.ts";
export * from "./import_graph.ts";
export * from "./import_test_file.ts";
export {
  originalPosition,
  type SourcePosition,
  stage,
  type StagedGraph,
  type StageOptions,
} from "./stage.ts";
export * from "./staging_error.ts";
