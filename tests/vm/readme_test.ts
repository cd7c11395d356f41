import { assert, assertEquals } from "@std/assert";
import { makeProject, outcomes } from "../runner/_belljar.ts";

const README = new URL("../../README.md", import.meta.url);

/** The blocks of the README that are test files, with the heading that they stand under. */
async function blocks(): Promise<{ heading: string; code: string }[]> {
  const text = await Deno.readTextFile(README);
  let heading = "top";
  const found: { heading: string; code: string }[] = [];
  for (const match of text.matchAll(/^#+ (.+)$|^```ts\n([\s\S]*?)^```$/gm)) {
    if (match[1] !== undefined) heading = match[1];
    else found.push({ heading, code: match[2]! });
  }
  return found;
}

Deno.test("README: every block of TypeScript is a test file that passes on real machines", async () => {
  const found = await blocks();
  assert(found.length >= 6, "the README has examples");
  await using project = await makeProject(Object.fromEntries(
    found.map(({ code }, i) => [`block${i}.test.ts`, code]),
  ));
  const cache = Deno.env.get("BELLJAR_CACHE_DIR");
  const { code, out, events } = await project.run(["-j", "2"], {
    BELLJAR_CACHE_DIR: cache ?? `${Deno.env.get("HOME")}/.cache/belljar`,
  });
  const failed = outcomes(events).filter((line) => !line.endsWith(": passed"));
  assertEquals({ code, failed }, { code: 0, failed: [] }, out);
  assert(outcomes(events).length >= found.length, out);
});
