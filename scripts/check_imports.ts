/**
 * Fails on an import under `src` against the order of the house, and on an import of a `_private.ts`
 * from outside its folder. `tests/<folder>` mirrors `src/<folder>` and may look inside it.
 */

/** From the command down to what needs nothing; folders of one row may import in one direction. */
const ORDER: readonly (readonly string[])[] = [
  ["cli"],
  ["mod.ts"],
  ["runner"],
  ["report", "dsl"],
  ["lab"],
  ["jobs", "net"],
  ["vmm"],
  ["image", "wire"],
  ["host"],
  ["scope"],
  ["values", "errors.ts"],
];

const IMPORT =
  /^[ \t]*(?:import|export)\b[^;"'`]*?\bfrom\s*["']([^"']+)["']|^[ \t]*import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;

/** One import that should not be there. */
export interface Offence {
  file: string;
  line: number;
  text: string;
}

interface Import {
  file: string;
  line: number;
  target: string;
}

function findImports(file: string, source: string): Import[] {
  const blank = (text: string) => text.replace(/[^\n]/g, " ");
  const code = source.replace(/\/\*[\s\S]*?\*\//g, blank).replace(/^\s*\/\/.*$/gm, blank);
  return [...code.matchAll(IMPORT)].flatMap((match) => {
    const specifier = match[1] ?? match[2] ?? match[3] ?? "";
    const line = code.slice(0, match.index).split("\n").length;
    // Not where it is imported on demand: that is how test files get it inside the program.
    if (specifier === "belljar" && !match[3]) return [{ file, line, target: "src/mod.ts" }];
    if (!specifier.startsWith(".")) return [];
    const target = new URL(specifier, `file:///${file}`).pathname.slice(1);
    return [{ file, line, target }];
  });
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** The folder of the house that a file lies in: `src/vmm/qemu/argv.ts` lies in `vmm`. */
function roomOf(path: string): string {
  return path.split("/")[1] ?? "";
}

function rankOf(path: string): number {
  return path.startsWith("src/") ? ORDER.findIndex((row) => row.includes(roomOf(path))) : -1;
}

function isPrivate(path: string): boolean {
  return path.slice(path.lastIndexOf("/") + 1).startsWith("_");
}

/** Whether `file` may look at `target`, a file with an underscore. */
function isInside(file: string, target: string): boolean {
  if (file.startsWith(`${folderOf(target)}/`)) return true;
  if (!file.startsWith("tests/")) return false;
  // Helpers of tests are for all tests; those that boot machines test several rooms at once.
  return target.startsWith("tests/") || roomOf(file) === "vm" ||
    folderOf(target).startsWith(`src/${roomOf(file)}`);
}

/** Looks at files by their path from the root, such as `src/vmm/mod.ts`. */
export function checkImports(files: ReadonlyMap<string, string>): Offence[] {
  const imports = [...files].flatMap(([file, source]) => findImports(file, source));
  const offences: Offence[] = [];
  const edges = new Set(imports.map(({ file, target }) => `${roomOf(file)} ${roomOf(target)}`));
  for (const { file, line, target } of imports) {
    if (target.startsWith("src/") && isPrivate(target) && !isInside(file, target)) {
      const text = `"${target}" is private to "${folderOf(target)}": import its mod.ts instead`;
      offences.push({ file, line, text });
    }
    if (!file.startsWith("src/") || !target.startsWith("src/")) continue;
    const [from, to] = [roomOf(file), roomOf(target)];
    const [upper, lower] = [rankOf(file), rankOf(target)];
    if (from === to) continue;
    if (upper < 0 || lower < 0) {
      const stranger = upper < 0 ? from : to;
      offences.push({ file, line, text: `"src/${stranger}" has no place in the import order` });
    } else if (upper > lower) {
      offences.push({
        file,
        line,
        text: `"${from}" must not import "${to}", which stands above it`,
      });
    } else if (upper === lower && edges.has(`${to} ${from}`)) {
      offences.push({ file, line, text: `"${from}" and "${to}" import each other` });
    }
  }
  return offences;
}

async function readTree(root: string, folder: string, into: Map<string, string>): Promise<void> {
  for await (const entry of Deno.readDir(`${root}/${folder}`)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) await readTree(root, path, into);
    else if (path.endsWith(".ts")) into.set(path, await Deno.readTextFile(`${root}/${path}`));
  }
}

if (import.meta.main) {
  const root = decodeURIComponent(new URL("..", import.meta.url).pathname);
  const files = new Map<string, string>();
  for (const folder of ["src", "tests"]) await readTree(root, folder, files);
  const offences = checkImports(files);
  // deno-lint-ignore no-console -- a command; its output is its result
  for (const { file, line, text } of offences) console.error(`${file}:${line}: ${text}`);
  if (offences.length > 0) Deno.exit(1);
}
