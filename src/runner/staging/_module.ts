import type { Resolution } from "./_resolve.ts";
import type { SourceImport, Transpiled } from "./_transpile.ts";
import type { StagingError } from "./staging_error.ts";

/** One import of a module, and what it means. */
export interface Edge {
  import: SourceImport;
  /** Absent where the specifier is computed. */
  resolution?: Resolution;
}

/** One file that is named by an import or as an entry. */
export interface Module {
  path: string;
  /** `file:` URL of the author's file. */
  url: string;
  kind: "script" | "json" | "wasm" | "absent";
  /** Empty for what is no text. */
  text: string;
  /** Only scripts that can be parsed have it. */
  script?: Transpiled;
  edges: Edge[];
  /** What is wrong with the file itself, whoever imports it. */
  errors: StagingError[];
  /** Why an absent file cannot be read, when it is there. */
  failure?: unknown;
}
