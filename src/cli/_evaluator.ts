import { isAbsolute, resolve } from "node:path";
import { Session } from "node:inspector";
import { pathToFileURL } from "node:url";
import process from "node:process";

/** How a line of the prompt came out. */
export type Evaluated =
  | { ok: true; value: unknown }
  | { ok: false; error: unknown };

interface RemoteObject {
  type: string;
  subtype?: string;
  value?: unknown;
  unserializableValue?: string;
  objectId?: string;
}

interface EvaluateReply {
  result: RemoteObject;
  exceptionDetails?: { exception?: RemoteObject };
}

/** What swc throws; lines count from 1. */
interface Diagnostic {
  message?: string;
  startLine?: number;
  startColumn?: number;
  endLine?: number;
  endColumn?: number;
}

/** Where values pass from V8's console to this program. */
const SLOT = Symbol.for("belljar.repl.value");
/** What `import()` is in the prompt, which has no file of its own. */
const IMPORT = "__belljarImport";

/**
 * Runs what is typed as V8's console does: names stay from line to line and can be declared again, and `await` stands at the
 * top.
 */
export class Evaluator implements Disposable {
  readonly #session = new Session();

  constructor(globals: Readonly<Record<string, unknown>>) {
    this.#session.connect();
    this.set(globals);
    this.set({ [IMPORT]: importFromHere });
  }

  /** Sets global names. */
  set(globals: Readonly<Record<string, unknown>>): void {
    for (const [name, value] of Object.entries(globals)) {
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
  }

  /** Whether more lines have to come before it is a whole statement. */
  async isIncomplete(source: string): Promise<boolean> {
    try {
      await this.#script(source);
      return false;
    } catch (error) {
      const { message = "", startLine, startColumn, endLine, endColumn } = error as Diagnostic;
      if (/^Unterminated (template|block comment)/.test(message)) return true;
      // What is wrong is that nothing comes any more: no token is shown as wrong.
      const isEmpty = startLine === endLine && startColumn === endColumn;
      return isEmpty && endLine === source.split("\n").length;
    }
  }

  /** Runs TypeScript. */
  async evaluate(source: string): Promise<Evaluated> {
    let code: string;
    try {
      code = await this.#script(source);
    } catch (error) {
      const { message } = error as { message?: string };
      return { ok: false, error: new SyntaxError(message ?? String(error)) };
    }
    const reply = await this.#post<EvaluateReply>("Runtime.evaluate", {
      expression: code,
      replMode: true,
      awaitPromise: true,
    });
    const { exceptionDetails, result } = reply;
    if (!exceptionDetails) return { ok: true, value: await this.#valueOf(result) };
    return { ok: false, error: await this.#valueOf(exceptionDetails.exception ?? result) };
  }

  /** Names that continue what is typed, and the part that they stand for. */
  async complete(line: string): Promise<[names: string[], part: string]> {
    const [, owner, part = ""] = /((?:[\w$]+\.)*)([\w$]*)$/.exec(line) ?? [];
    const names = owner ? await this.#members(owner.slice(0, -1)) : await this.#globals();
    const matching = names.filter((name) =>
      name.startsWith(part) && /^[A-Za-z$][\w$]*$/.test(name)
    );
    return [[...new Set(matching)].sort(), part];
  }

  [Symbol.dispose](): void {
    this.#session.disconnect();
  }

  /** JavaScript for V8's console. */
  async #script(source: string): Promise<string> {
    // Nothing would use what it brings, so that it would vanish together with the types.
    if (/^\s*import\b(?!\s*[.(])/.test(source)) {
      throw new SyntaxError(
        'Cannot use an import statement here: write `const { name } = await import("module")`',
      );
    }
    const { default: swc } = await import("@swc/wasm-typescript");
    const transform = (text: string) =>
      swc.transformSync(text, {
        mode: "transform",
        module: true,
        transform: { tsEnumIsMutable: true, noEmptyExport: true },
      }).code;
    let code: string;
    try {
      // `{ a: 1 }` is meant as an object, not as a block with a label.
      if (!/^\s*\{[^]*\}\s*$/.test(source)) throw undefined;
      code = transform(`(${source})`);
    } catch {
      code = transform(source);
    }
    return code.replace(/(?<![\w$.])import\s*\(/g, `${IMPORT}(`);
  }

  async #valueOf(object: RemoteObject): Promise<unknown> {
    if (object.type === "undefined") return undefined;
    if (object.objectId === undefined && object.unserializableValue === undefined) {
      return object.value ?? null;
    }
    const { objectId, unserializableValue } = object;
    const argument = objectId === undefined ? { unserializableValue } : { objectId };
    const holder = await this.#post<EvaluateReply>("Runtime.evaluate", {
      expression: "globalThis",
    });
    await this.#post("Runtime.callFunctionOn", {
      objectId: holder.result.objectId,
      functionDeclaration: `function (value) {
        this[Symbol.for(${JSON.stringify(SLOT.description)})] = value;
      }`,
      arguments: [argument],
    });
    const slots = globalThis as unknown as Record<symbol, unknown>;
    const value = slots[SLOT];
    delete slots[SLOT];
    return value;
  }

  /** Members of a value that is reached by names alone: looking runs no call of the user's. */
  async #members(path: string): Promise<string[]> {
    const { result, exceptionDetails } = await this.#post<EvaluateReply>("Runtime.evaluate", {
      expression: path,
      throwOnSideEffect: true,
    });
    if (exceptionDetails) return [];
    const names: string[] = [];
    const value = await this.#valueOf(result);
    for (
      let at: unknown = value === null || value === undefined ? null : Object(value);
      at !== null && at !== Object.prototype;
      at = Object.getPrototypeOf(at)
    ) {
      names.push(...Object.getOwnPropertyNames(at));
    }
    return names;
  }

  async #globals(): Promise<string[]> {
    const { names } = await this.#post<{ names: string[] }>("Runtime.globalLexicalScopeNames", {});
    return [...names, ...Object.getOwnPropertyNames(globalThis), "await", "const", "typeof"]
      .filter((name) => name !== IMPORT);
  }

  #post<T>(method: string, params: Record<string, unknown>): Promise<T> {
    const post = this.#session.post.bind(this.#session) as unknown as (
      method: string,
      params: Record<string, unknown>,
      done: (error: unknown, reply: T) => void,
    ) => void;
    return new Promise((resolve, reject) =>
      post(method, params, (error, reply) => error ? reject(error) : resolve(reply))
    );
  }
}

/** Imports a module; paths begin at the current folder. */
async function importFromHere(specifier: unknown): Promise<unknown> {
  const name = String(specifier);
  const isPath = /^\.{0,2}\//.test(name) || isAbsolute(name);
  return await import(isPath ? pathToFileURL(resolve(process.cwd(), name)).href : name);
}
