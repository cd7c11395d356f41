/**
 * Loads test files as the belljar binary does, and tells of each how that went, in a line of JSON. Compiled by
 * `compiled_test.ts`.
 */

import * as assert from "@std/assert";
import * as belljar from "belljar";
import { importTestFile, StagingError } from "../../../src/runner/staging/mod.ts";

// What files compare with what they import.
Object.assign(globalThis, { embedded: { assert, belljar } });

const [dir, cacheDir, ...files] = Deno.args as [string, string, ...string[]];
for (const file of files) {
  const outcome = await importTestFile(file, { dir, cacheDir }).then(
    () => ({ file, ok: true }),
    (error: unknown) => ({ file, ok: false, ...describe(error) }),
  );
  await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(outcome)}\n`));
}

function describe(error: unknown): Record<string, unknown> {
  if (error instanceof StagingError) {
    const { code, place, summary, frame } = error;
    return { code, place, summary, frame };
  }
  return { error: error instanceof Error ? error.stack : String(error) };
}
