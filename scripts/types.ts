/**
 * Writes the declarations of the public API as one JSON file, `{ path: text }`, for `belljar init`: who has only the compiled
 * program has nothing else from which an editor could know the types.
 *
 *   deno run -A scripts/types.ts src/cli/embed/types.json
 */
// deno-lint-ignore no-import-prefix -- needed by this script alone
import ts from "npm:typescript@5.9.3";
import { dirname, relative } from "node:path";

const ROOT = decodeURIComponent(new URL("../", import.meta.url).pathname);

/** The declarations of everything that `src/mod.ts` reaches, by path below `src`. */
function declarations(globals: string): Record<string, string> {
  const options: ts.CompilerOptions = {
    allowImportingTsExtensions: true,
    declaration: true,
    emitDeclarationOnly: true,
    lib: ["lib.esnext.d.ts"],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    noCheck: true,
    outDir: "/out",
    paths: {
      "@std/assert": ["./scripts/fallback/std_assert.d.ts"],
      "@std/msgpack": ["./scripts/fallback/std_msgpack.d.ts"],
    },
    rootDir: ROOT,
    skipLibCheck: true,
    strict: true,
    target: ts.ScriptTarget.ESNext,
    types: [],
  };
  const program = ts.createProgram([`${ROOT}src/mod.ts`, globals], options);
  const files: Record<string, string> = {};
  program.emit(
    undefined,
    (path, text) => {
      const name = relative("/out/src", path);
      if (!name.startsWith("..")) files[name] = text;
    },
    undefined,
    true,
  );
  return files;
}

/** What `mod.d.ts` reaches, with imports of declarations instead of sources. */
function reachable(files: Record<string, string>): Record<string, string> {
  const found: Record<string, string> = {};
  const queue = ["mod.d.ts"];
  for (const name of queue) {
    const text = files[name];
    if (text === undefined) throw new Error(`There is no declaration for "${name}"`);
    found[name] = text.replace(/(from\s+|import\(|import\s+)"(\.[^"]+)\.ts"/g, (_, word, path) => {
      const target = relative(ROOT, `${ROOT}${dirname(name)}/${path}.d.ts`);
      if (!queue.includes(target)) queue.push(target);
      return `${word}"${path}.d.ts"`;
    });
  }
  return found;
}

if (import.meta.main) {
  const target = Deno.args[0];
  if (!target) throw new TypeError("expected the path of the file to write");
  const globals = await Deno.makeTempFile({ suffix: ".d.ts" });
  try {
    const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["types"] }).output();
    await Deno.writeFile(globals, stdout);
    const files = reachable(declarations(globals));
    await Deno.mkdir(dirname(target), { recursive: true });
    await Deno.writeTextFile(target, JSON.stringify(files));
  } finally {
    await Deno.remove(globals);
  }
}
