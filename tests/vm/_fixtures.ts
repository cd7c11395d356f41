import { FixtureStore, type ListedFixture } from "../../src/runner/fixtures/mod.ts";
import type { Project } from "../runner/_belljar.ts";
import { makeProject } from "../runner/_belljar.ts";

const CACHE = Deno.env.get("BELLJAR_CACHE_DIR") ?? `${Deno.env.get("HOME")}/.cache/belljar`;

/** The user's own cache: images and templates are not built anew for each test. */
export const SHARED: Record<string, string> = { BELLJAR_CACHE_DIR: CACHE };

/** Where fixtures are kept. */
export const FIXTURES_DIR = `${CACHE}/fixtures`;

/** A folder of test files whose fixtures are taken out of the cache at the end. */
export async function makeFixtureProject(
  files: Record<string, string>,
): Promise<{ project: Project } & AsyncDisposable> {
  const project = await makeProject(files);
  return {
    project,
    async [Symbol.asyncDispose]() {
      const store = new FixtureStore({ dir: FIXTURES_DIR, capBytes: Infinity });
      for (const entry of await entriesOf(project)) await store.remove(entry);
      await project[Symbol.asyncDispose]();
    },
  };
}

/** Entries that were built from files of a project. */
export async function entriesOf(project: Project): Promise<ListedFixture[]> {
  const all = await new FixtureStore({ dir: FIXTURES_DIR, capBytes: Infinity }).list();
  return all.filter(({ record }) => record.path.startsWith(`${project.dir}/`));
}

/** Names of folders of builds that are under way or were given up. */
export async function unfinished(): Promise<string[]> {
  const names = await Array.fromAsync(Deno.readDir(FIXTURES_DIR), ({ name }) => name);
  return names.filter((name) => name.startsWith(".new-"));
}

/** The source of a fixture whose machine has the text of `lib.ts` in a file, and prints "building". */
export const FIXTURE = `import { defineFixture, lab } from "belljar";
  import { TEXT } from "./lib.ts";
  export default defineFixture(async () => {
    console.log("building");
    const vm = await lab.vm("db", "tiny").boot();
    await vm.writeFile("/tmp/text", TEXT);
    return await vm.snapshot();
  }, { files: ["./data"] });`;

/** The source of a test that expects this text in the fixture's machine. */
export function usingTest(text: string, name = "resumes"): string {
  return `import { lab, test } from "belljar";
    test(${JSON.stringify(name)}, async (t) => {
      const vm = await lab.fixture("./db.fixture.ts");
      t.assertEquals(vm.name, "db");
      t.assertEquals(await vm.readTextFile("/tmp/text"), ${JSON.stringify(text)});
    });`;
}
