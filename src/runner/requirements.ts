import { hostLimits } from "../host/mod.ts";
import type { Requirements, TestDefinition } from "../dsl/mod.ts";
import { bytes } from "../values/mod.ts";

/** Says why this host cannot run a test, or `undefined` if it can. */
export async function unmetRequirement(test: TestDefinition): Promise<string | undefined> {
  const required: Requirements = test.meta.require ?? {};
  if (required.root && Deno.uid() !== 0) return "needs root";
  if (required.memory !== undefined) {
    const { memoryBytes } = await hostLimits();
    const needed = bytes(required.memory);
    if (memoryBytes < needed) {
      return `needs ${required.memory} of memory, this run may use ${
        Math.floor(memoryBytes / 2 ** 20)
      }M`;
    }
  }
  return undefined;
}
