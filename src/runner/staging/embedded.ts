import { VERSION } from "../../wire/mod.ts";
import { satisfies } from "./_range.ts";
import { VERSIONS } from "./_versions.ts";

/** belljar's own name on JSR. */
const OWN_NAME = "@belljar/belljar";

/** A package that a test file gets from belljar itself, as the very modules that belljar uses. */
export interface EmbeddedPackage {
  /** Name on JSR, such as `@std/assert`. */
  readonly name: string;
  readonly version: string;
  /** What a file writes to import it: the package's name in `deno.json`, with and without subpaths. */
  readonly modules: Readonly<Record<string, () => Promise<unknown>>>;
}

/**
 * What is embedded. The literal imports are never awaited for a test file: they let `deno compile` see what it has to
 * embed, and tests that every name is one.
 */
export const EMBEDDED: readonly EmbeddedPackage[] = [
  {
    name: OWN_NAME,
    version: VERSION,
    modules: {
      "belljar": () => import("belljar"),
      "belljar/events": () => import("belljar/events"),
    },
  },
  { ...std("assert"), modules: { "@std/assert": () => import("@std/assert") } },
  { ...std("async"), modules: { "@std/async": () => import("@std/async") } },
  { ...std("fmt"), modules: { "@std/fmt/colors": () => import("@std/fmt/colors") } },
];

/** The names of all embedded modules. */
export const EMBEDDED_NAMES: readonly string[] = EMBEDDED.flatMap(({ modules }) =>
  Object.keys(modules)
);

function std(name: "assert" | "async" | "fmt"): { name: string; version: string } {
  return { name: `@std/${name}`, version: VERSIONS[`@std/${name}`] };
}

/** A `jsr:` specifier in its parts. */
export interface JsrSpecifier {
  package: string;
  /** As written; `*` when there is none. */
  range: string;
  /** Such as `/events`; empty for the package itself. */
  subpath: string;
}

/** Takes a `jsr:` specifier apart. */
export function parseJsr(specifier: string): JsrSpecifier | undefined {
  const match = /^jsr:\/?(@[^/@]+\/[^/@]+)(?:@([^/]*))?(\/.*)?$/.exec(specifier);
  if (!match) return undefined;
  return {
    package: match[1]!,
    range: decodeURIComponent(match[2] || "*"),
    subpath: match[3] ?? "",
  };
}

/** What an import of a `jsr:` package comes to in the binary. */
export type JsrVerdict =
  | { kind: "embedded"; name: string }
  | { kind: "version"; package: EmbeddedPackage; range: string }
  | { kind: "subpath"; package: EmbeddedPackage }
  | { kind: "unknown" };

/** Finds the embedded module for a `jsr:` specifier. */
export function findJsr(specifier: string): JsrVerdict {
  const wanted = parseJsr(specifier);
  const found = EMBEDDED.find(({ name }) => name === wanted?.package);
  if (!wanted || !found) return { kind: "unknown" };
  if (!satisfies(found.version, wanted.range)) {
    return { kind: "version", package: found, range: wanted.range };
  }
  // The shortest name is the package itself, unless only a part of it is embedded.
  const root = found.name === OWN_NAME ? "belljar" : found.name;
  const name = root + wanted.subpath;
  return name in found.modules ? { kind: "embedded", name } : { kind: "subpath", package: found };
}
