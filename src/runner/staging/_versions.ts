/**
 * Versions of the embedded packages, as `deno.json` pins them. They are here because a compiled program that imports JSON
 * never writes its cache of compiled code, which halves its start: Deno writes it once each module that asked for code
 * has given some (`cli/rt/code_cache.rs`), and JSON gives none.
 *
 * @module
 */

/** Exact version by name in `deno.json`. */
export const VERSIONS = {
  "@std/assert": "1.0.19",
  "@std/async": "1.5.0",
  "@std/fmt": "1.0.10",
  "@swc/wasm-typescript": "1.16.2",
} as const;
