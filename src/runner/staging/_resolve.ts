/**
 * Decides what an import in a test file means when the compiled binary runs it.
 *
 * @module
 */

import { builtinModules } from "node:module";
import { fileURLToPath } from "node:url";
import type { ErrorDetails } from "../../errors.ts";
import { closest } from "../../values/mod.ts";
import { EMBEDDED_NAMES, findJsr } from "./embedded.ts";
import type { StagingCode } from "./staging_error.ts";
import type { UserConfig } from "./_user_config.ts";

/** What an import means. */
export type Resolution =
  /** A file of the author's; `suffix` is the query and fragment, which make it another module. */
  | { kind: "file"; path: string; suffix: string }
  /** What the runtime resolves by itself: an embedded name, `node:`, `data:`. */
  | { kind: "runtime"; specifier: string }
  | { kind: "refused"; refusal: Refusal };

/** Why an import cannot be had; the place is added by whoever knows it. */
export interface Refusal extends ErrorDetails {
  code: StagingCode;
  /** What follows `Cannot import "…" at …: `. */
  why: string;
}

/** Extensions of files that can be staged. */
const EXTENSIONS = /\.(?:ts|mts|js|mjs|json|wasm)$/;
const REMOTE: Record<string, string> = {
  "npm:": "npm packages",
  "jsr:": "JSR packages",
  "https:": "modules from the network",
  "http:": "modules from the network",
};

/** Resolves `specifier` as written in the module at `importer`. */
export function resolveImport(
  specifier: string,
  importer: string,
  config: UserConfig,
): Resolution {
  // Before the map: a `deno.json` that maps these names must not give a second instance of belljar.
  const root = specifier.split("/")[0];
  if (root === "belljar") return embedded(specifier);
  const { target, mapped } = config.resolve(specifier, importer);
  const scheme = /^[a-z][a-z\d+.-]*:/i.exec(target)?.[0].toLowerCase();
  switch (scheme) {
    case "file:":
      return resolveFile(target);
    case "node:":
    case "data:":
    case "blob:":
      return { kind: "runtime", specifier: target };
    case "jsr:":
      return resolveJsr(target);
    case undefined:
      return embedded(target);
    default:
      return remote(scheme, mapped ? config.path : undefined, target);
  }
}

function resolveFile(target: string): Resolution {
  const url = new URL(target);
  const suffix = url.search + url.hash;
  url.search = url.hash = "";
  const path = fileURLToPath(url);
  const refusal = refuseFile(path);
  return refusal ? refused(refusal) : { kind: "file", path, suffix };
}

/** Why a file cannot be staged, judged by its name alone. */
export function refuseFile(path: string): Refusal | undefined {
  // Without an extension there may be a neighbour to name; that is found when the file cannot be read.
  if (EXTENSIONS.test(path) || !/\.[^/.]+$/.test(path)) return undefined;
  const expected = "a .ts, .mts, .js, .mjs, .json or .wasm file";
  const [why, next] = /\.[jt]sx$/.test(path)
    ? ["belljar does not read JSX", "rename it to .ts and build elements by function calls"]
    : /\.c[jt]s$/.test(path)
    ? ["belljar does not read CommonJS", "turn it into an ES module"]
    : [
      "belljar cannot tell its language",
      "read it by `Deno.readTextFile(new URL(…, import.meta.url))`",
    ];
  return { code: "UNSUPPORTED", why, expected, next };
}

function resolveJsr(target: string): Resolution {
  const verdict = findJsr(target);
  switch (verdict.kind) {
    case "embedded":
      return { kind: "runtime", specifier: verdict.name };
    case "version": {
      const { name, version } = verdict.package;
      return refused({
        code: "VERSION",
        why: `belljar embeds ${name} ${version}`,
        expected: `a range that allows ${version}`,
        actual: target,
        next: `write "jsr:${name}@^${version}"`,
      });
    }
    case "subpath":
      return refused({
        code: "NOT_FOUND",
        why: `that part of ${verdict.package.name} is not embedded`,
        expected: list(Object.keys(verdict.package.modules)),
        actual: target,
      });
    case "unknown":
      return remote("jsr:", undefined, target);
  }
}

function embedded(name: string): Resolution {
  if (EMBEDDED_NAMES.includes(name)) return { kind: "runtime", specifier: name };
  if (builtinModules.includes(name)) {
    return refused({
      code: "NOT_FOUND",
      why: "no such module",
      expected: "built-in modules of Node.js with their prefix",
      next: `write "node:${name}"`,
    });
  }
  const near = closest(name, EMBEDDED_NAMES) ??
    EMBEDDED_NAMES.find((other) => name.startsWith(`${other}/`));
  return refused({
    code: "NOT_FOUND",
    why: "no such module",
    expected: `a path that begins with "./", an entry of \`imports\` in deno.json, or ${
      list(EMBEDDED_NAMES)
    }`,
    next: near ? `write "${near}"` : `write "./${name}" if it is a file`,
  });
}

function remote(scheme: string, config: string | undefined, target: string): Resolution {
  const what = REMOTE[scheme];
  return refused({
    code: "REMOTE_IMPORT",
    why: what
      ? `the belljar binary loads no ${what}`
      : `the belljar binary does not know "${scheme}"`,
    expected: `a file, "node:…", or ${list(EMBEDDED_NAMES)}`,
    actual: config ? `"${target}", by ${config}` : `"${target}"`,
    next: "keep a copy as a file beside the test, or run the tests by `deno test`",
  });
}

function refused(refusal: Refusal): Resolution {
  return { kind: "refused", refusal };
}

function list(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}
