import { Command } from "@cliffy/command";
import { dirname, join } from "node:path";
import { ExitError } from "./_errors.ts";
import { print, printError } from "./_terminal.ts";
import type { GlobalOptions } from "./run.ts";

/** Folder for the types of the API, beside the configuration of Deno. */
const TYPES_DIR = ".belljar";
const SAMPLE = "tests/first.test.ts";

const SAMPLE_TEXT = `import { lab, test } from "belljar";

test("a machine boots and runs a command", async (t) => {
  const vm = await lab.vm("first", "tiny").boot();
  const { stdout } = await vm.run("uname -s");
  t.assertEquals(stdout, "Linux\\n");
}); // here everything that the test opened is closed: the machine ends
`;

/** Entries of `deno.json` that belljar's tests need. */
interface Entries {
  imports: Record<string, string>;
  unstable: string[];
}

/** What was done to a file. */
interface Done {
  what: "made" | "changed" | "kept";
  path: string;
  why?: string;
}

/** `belljar init`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function initCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description(
      "Make what an author of tests needs: entries of deno.json, types for editors, and a first test.",
    )
    .arguments("[folder:file]")
    .action(async (_options, folder) => {
      const root = folder ?? ".";
      await Deno.mkdir(root, { recursive: true });
      const { entries, done } = await types(root);
      done.push(await denoJson(root, entries));
      done.push(await sample(root));
      const width = Math.max(...done.map(({ path }) => path.length));
      for (const { what, path, why } of done) {
        print(
          `${what.padEnd(7)}  ${path.padEnd(width)}${why ? `  ${why}` : ""}\n`.replace(
            / +\n$/,
            "\n",
          ),
        );
      }
      const place = folder === undefined ? "" : `cd ${folder} && `;
      print(`Next: ${place}belljar run ${SAMPLE}\n`);
      const missed = done.find(({ path, why }) =>
        path.startsWith("deno.json") && why?.startsWith("add")
      );
      if (!missed) return;
      printError(`belljar: ${missed.path} was not changed: ${missed.why}\n`);
      throw new ExitError(1);
    });
}

/** The types of the API, and the entries that lead to them. */
async function types(root: string): Promise<{ entries: Entries; done: Done[] }> {
  const files = await embeddedTypes();
  const unstable = ["vsock"];
  if (!files) {
    // From source: the sources are the types, and what they import has to be found as well.
    const url = new URL("../../deno.json", import.meta.url);
    const { imports } = JSON.parse(await Deno.readTextFile(url)) as Entries;
    const own = { belljar: new URL("../mod.ts", import.meta.url).href };
    const packages = Object.entries(imports).filter(([name]) => name.startsWith("@"));
    return {
      entries: { imports: { ...own, ...Object.fromEntries(packages) }, unstable },
      done: [],
    };
  }
  for (const [name, text] of Object.entries(files)) {
    const path = join(root, TYPES_DIR, name);
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.writeTextFile(path, text);
  }
  await Deno.writeTextFile(join(root, TYPES_DIR, ".gitignore"), "*\n");
  const done: Done[] = [{
    what: "made",
    path: `${TYPES_DIR}/`,
    why: "types of the API for editors; belljar init makes them again",
  }];
  return { entries: { imports: { belljar: `./${TYPES_DIR}/mod.d.ts` }, unstable }, done };
}

/** The declarations inside the compiled program, by path. */
async function embeddedTypes(): Promise<Record<string, string> | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(new URL("./embed/types.json", import.meta.url)));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function denoJson(root: string, entries: Entries): Promise<Done> {
  for (const name of ["deno.json", "deno.jsonc"]) {
    const path = join(root, name);
    const text = await readText(path);
    if (text === undefined) continue;
    const missing = `add ${
      JSON.stringify({ imports: entries.imports, unstable: entries.unstable })
    }`;
    let config: { imports?: Record<string, string>; unstable?: string[] };
    try {
      config = JSON.parse(text);
    } catch {
      return { what: "kept", path: name, why: missing }; // Comments would be lost.
    }
    const imports = { ...entries.imports, ...config.imports };
    const unstable = [...new Set([...config.unstable ?? [], ...entries.unstable])];
    const changed = { ...config, imports, unstable };
    if (JSON.stringify(changed) === JSON.stringify(config)) return { what: "kept", path: name };
    await Deno.writeTextFile(path, `${JSON.stringify(changed, null, 2)}\n`);
    return { what: "changed", path: name, why: "imports and unstable" };
  }
  await Deno.writeTextFile(join(root, "deno.json"), `${JSON.stringify(entries, null, 2)}\n`);
  return { what: "made", path: "deno.json" };
}

async function sample(root: string): Promise<Done> {
  const path = join(root, SAMPLE);
  if (await readText(path) !== undefined) return { what: "kept", path: SAMPLE };
  await Deno.mkdir(dirname(path), { recursive: true });
  await Deno.writeTextFile(path, SAMPLE_TEXT);
  return { what: "made", path: SAMPLE };
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
