/** What only a compiled program shows: V8 without Deno's own reading of TypeScript. */

import { assert, assertEquals } from "@std/assert";
import { type Folder, makeFolder } from "./_files.ts";

const ROOT = decodeURIComponent(new URL("../../../", import.meta.url).pathname);
const MAIN = "tests/runner/staging/_compiled_main.ts";

/** One line of the program's output about a file. */
interface Outcome {
  file: string;
  ok: boolean;
  code?: string;
  place?: string;
  summary?: string;
  frame?: string;
  error?: string;
}

/** Places where errors come from: each prints the frames of its own files. */
const POSITIONS = {
  "a.test.ts": `import { fail, type Opt, Thrower } from "./lib/h.ts";
import * as ns from "./lib/h.ts";
import { jsFail } from "./lib/p.js";
interface A { x: number }
enum Z { A = 1, B }
function frames(e: unknown): string {
  const own = import.meta.dirname!;
  return (e as Error).stack!.split("\\n").filter((l) => l.includes(own)).map((l) => l.trim().replaceAll(own, "")).join(" | ");
}
function show(name: string, f: () => unknown): void {
  try { f(); } catch (e) { console.log(name, frames(e)); }
}
const o: { f?: { g(): void } } = {};
show("null call", () => o.f!.g());
show("helper", () => fail<string>("x"));
show("namespace import", () => ns.fail("x"));
show("method", () => new Thrower(1, "b").boom());
show("constructor", () => new Thrower(-1, "b"));
show("getter", () => new Thrower(1).bad);
show("typed arrow", (): A => { const a: A | undefined = undefined as unknown as A; return a.x as unknown as A; });
show("undefined function", () => (globalThis as any).nothere(1, 2));
show("assertion", () => { const x = <any> null; return x[0]; });
show("template", () => \`a \${(null as any).b} c\`);
show("wide characters", () => { const s = "😀日本é"; const q = s as any; return q.f(1)(2); });
\tshow("tabs",\t() => { throw new TypeError("tab"); });
show("enum", () => (Z as any).C.d);
show("destructuring", () => { const { a, ...b } = null as any; return [a, b]; });
show("parameter", () => ((({ a }: { a: number }) => a) as any)(undefined));
show("spread", () => Math.max(...(1 as any)));
show("new", () => new (ns as any).Nope<string>());
show("many lines", () =>
  ns
    .fail(
      "x" satisfies string,
    ));
show("callback", () => [1, 2].map((n: number): number => { if (n === 2) throw new Error("n"); return n; }));
show("recursion", () => { (function inner(this: void, n: number): void { if (n) return inner(n - 1); fail("deep"); })(2); });
namespace N { export function f(): void { throw new Error("ns"); } export class C { static x: number = 1; m(): void { fail("m"); } } }
show("namespace", () => N.f());
show("class in a namespace", () => new N.C().m());
export class Fields<T> { a: T = fail("field") as T; }
show("field", () => new Fields());
abstract class Base { abstract f(): void; g(): void { this.f(); } }
class D extends Base { override f(): void { fail("override"); } }
show("override", () => new D().g());
show("JavaScript", () => jsFail());
show("behind a dynamic import", () => { import("./lib/p.js").catch(() => {}); throw new Error("after"); });
show("behind import.meta", () => { const a = import.meta.url; throw new Error(a as string); });
async function af(): Promise<void> { await Promise.resolve(); throw new Error("async"); }
try { await af(); } catch (e) { console.log("async", frames(e)); }
try { await import("./lib/throws.ts"); } catch (e) { console.log("imported", frames(e)); }
const opt: Opt = { retries: 1 }; console.log(opt.retries);
`,
  "lib/h.ts": `export interface Opt { retries: number }
export type F<T> = (a: T) => void;
export function fail<T>(message: string, _opt?: Opt): T { throw new Error(message); }
export class Thrower {
  constructor(private readonly n: number, protected b: string = "q") { if (this.n < 0) { throw new RangeError("neg"); } }
  get bad(): number { return (undefined as any).x; }
  /** Says nothing. */
  public async later(): Promise<void> { await null; }
  boom<T extends F<number>>(_x?: T): never { /* c */ const f: F<number> = (a) => { throw new Error(String(a)); }; f(3); throw 1; }
}
`,
  "lib/p.js":
    `/* lead */ export function jsFail() { const a = { b: null }; const r = /x\\/[}]/g; return a.b.c(r); }
`,
  "lib/throws.ts": `const a: number = 1;
if (a) { throw new Error("top" as string); }`,
};

/** All of what acceptance asks for in one file. */
const LANGUAGE = {
  "a.test.ts": `import { test, TestContext } from "belljar";
import * as belljar from "belljar";
import * as assert from "@std/assert";
import * as ranged from "jsr:@std/assert@1";
import { Shape, area } from "./shape.ts";
import type { Gone } from "./gone.ts";
import data from "./data.json" with { type: "json" };
import { odd } from "./odd.ts";
declare const embedded: { assert: unknown; belljar: unknown };
enum Level { Low, High = "high" }
namespace Geometry { export const unit = 1; export namespace Deep { export const two = unit + 1; } }
class Point { constructor(readonly x: number, private y = 2) {} sum() { return this.x + this.y; } }
const shape: Shape = { side: 3 };
const gone: Gone | undefined = undefined;
const context: TestContext | undefined = undefined;
const order: string[] = [];
{
  using a = { [Symbol.dispose]() { order.push("a"); } };
  await using b = { async [Symbol.asyncDispose]() { order.push("b"); } };
}
const name: string = "shape";
const computed = await import(\`./\${name}.ts\`);
const literal = await import("./shape.ts");
console.log(JSON.stringify({
  level: [Level.Low, Level.High], deep: Geometry.Deep.two, point: new Point(1).sum(), area: area(shape), gone, context,
  data, odd: odd(3), order, same: [belljar === embedded.belljar, assert === embedded.assert, ranged === embedded.assert,
    computed === literal, typeof test],
  meta: [import.meta.url === new URL(import.meta.filename!, "file:").href, import.meta.dirname === import.meta.filename!.replace(/\\/[^/]+$/, ""),
    import.meta.main],
}));
export function even(n: number): boolean { return n === 0 || odd(n - 1); }
`,
  "shape.ts":
    "export interface Shape { side: number } export const area = (s: Shape): number => s.side ** 2;",
  "odd.ts":
    'import { even } from "./a.test.ts"; export const odd = (n: number): boolean => n !== 0 && (n === 1 || even(n - 1));',
  "data.json": '{ "k": [1, null] }',
};

/** Problems that Deno finds before V8 does, so that only a compiled program shows how V8's are told. */
const PROBLEMS = {
  "js.test.ts": 'import "./b.js"',
  "b.js": "let a = 1;\n  let b = ;",
  "twice.test.ts": "interface A {}\nlet a: number = 1;   let a = 2;",
  "accessor.test.ts": "class A<T> {\n  accessor x = 1;\n}",
  "export.test.ts": 'import "./c.ts"',
  "c.ts": 'export { type A, T } from "./d.ts";',
  "d.ts": "export type A = 1; export interface T {}",
};

const denort = Deno.env.get("DENORT_BIN");

// Without it, Deno would fetch 97 MB that many machines cannot reach.
const reason = denort ? "" : " (skipped: DENORT_BIN names no denort)";

Deno.test(`the compiled program loads test files as Deno does${reason}`, {
  ignore: !denort,
}, async (t) => {
  await using built = await makeFolder();
  const program = built.at("program");
  const deps = await dependencies();
  const deno = Deno.env.get("BELLJAR_DENO") ?? Deno.execPath();
  await run(deno, ["compile", "-q", "-A", "--no-check", ...deps, "--output", program, MAIN], ROOT);

  const load = async (folder: Folder, ...entries: string[]) => {
    const files = entries.map(folder.at);
    const options = [folder.at(".stage"), folder.at(".cache")];
    // Nothing but the program: no home, no checkout, no Deno.
    return await run(program, [...options, ...files], folder.path, { PATH: "/usr/bin:/bin" });
  };

  await t.step("with every part of the language", async () => {
    await using folder = await makeFolder(LANGUAGE);
    const lines = (await load(folder, "a.test.ts")).split("\n");
    assertEquals(JSON.parse(lines[1]!), { file: folder.at("a.test.ts"), ok: true });
    assertEquals(JSON.parse(lines[0]!), {
      level: [0, "high"],
      deep: 2,
      point: 3,
      area: 9,
      data: { k: [1, null] },
      odd: true,
      order: ["b", "a"],
      same: [true, true, true, true, "function"],
      meta: [true, true, false],
    });
  });

  await t.step("with the same places in every stack", async () => {
    await using folder = await makeFolder(POSITIONS);
    const places = (text: string) => text.split("\n").filter((line) => !line.startsWith("{"));
    const entry = folder.at("a.test.ts");
    const args = ["run", "-A", "--no-check", "--no-config", entry];
    const expected = places(await run(Deno.execPath(), args, folder.path));
    assert(expected.length > 30, expected.join("\n"));
    assertEquals(places(await load(folder, "a.test.ts")), expected);
    // Once more, from the cache.
    assertEquals(places(await load(folder, "a.test.ts")), expected);
  });

  await t.step("and tells of what V8 refuses", async () => {
    await using folder = await makeFolder(PROBLEMS);
    const entries = Object.keys(PROBLEMS).filter((name) => name.endsWith(".test.ts"));
    const lines = (await load(folder, ...entries)).trim().split("\n");
    const outcomes = lines.map((line) => JSON.parse(line.replaceAll(folder.path, "")) as Outcome);
    assertEquals(outcomes.map(({ code, place, summary }) => [code, place, summary]), [
      ["SYNTAX", "/b.js:2:11", "Cannot load \"/b.js:2:11\": Unexpected token ';'"],
      [
        "SYNTAX",
        "/twice.test.ts:2:26",
        "Cannot load \"/twice.test.ts:2:26\": Identifier 'a' has already been declared",
      ],
      [
        "SYNTAX",
        "/accessor.test.ts:2:12",
        "Cannot load \"/accessor.test.ts:2:12\": Unexpected identifier 'x'",
      ],
      [
        "SYNTAX",
        "/c.ts:1:18",
        "Cannot load \"/c.ts:1:18\": The requested module './d.ts' does not provide an export named 'T'",
      ],
    ]);
  });

  await t.step("in many processes at once, with one cache and one folder", async () => {
    await using folder = await makeFolder(LANGUAGE);
    const outputs = await Promise.all(
      Array.from({ length: 6 }, () => load(folder, "a.test.ts")),
    );
    assertEquals(outputs.filter((output) => output.endsWith('"ok":true}\n')).length, 6);
    assertEquals(new Set(outputs).size, 1);
    const top = await Array.fromAsync(Deno.readDir(folder.at(".stage")), ({ name }) => name);
    assertEquals(top.filter((name) => name.startsWith(".")), []); // nothing temporary is left
  });
});

async function dependencies(): Promise<string[]> {
  const args = ["run", "-A", "-q", "--no-config", "--no-lock", "scripts/deps.ts"];
  return (await run(Deno.execPath(), args, ROOT)).trim().split(/\s+/).filter(Boolean);
}

async function run(
  command: string,
  args: string[],
  cwd: string,
  env?: Record<string, string>,
): Promise<string> {
  const options = { args, cwd, env: { NO_COLOR: "1", ...env }, clearEnv: env !== undefined };
  const { success, stdout, stderr } = await new Deno.Command(command, options).output();
  const text = new TextDecoder();
  assert(success, `${command} ${args.join(" ")}: ${text.decode(stderr)}${text.decode(stdout)}`);
  return text.decode(stdout);
}
