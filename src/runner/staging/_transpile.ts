/**
 * Turns one source file into JavaScript, with what it imports and where all of it came from.
 *
 * @module
 */

import { errorAt } from "./_error_at.ts";
import { columnOfDisplay, LineIndex, type Position } from "./_position.ts";
import { type FoundImport, scanModule } from "./_scan.ts";
import { decodeMappings, encodeMappings, lookUp, type Mappings } from "./_source_map.ts";
import { tokenize } from "./_tokens.ts";

/** An import, with its place in the author's file (from 0). */
export interface SourceImport extends FoundImport, Position {}

/** JavaScript made from one file; the same source gives the same result, wherever it lies. */
export interface Transpiled {
  code: string;
  /** The `mappings` of its source map. */
  mappings: string;
  imports: SourceImport[];
  /** Offsets of `import.meta` in the code. */
  metas: { start: number; end: number }[];
}

/** A file whose text is known. */
export interface SourceFile {
  /** `file:` URL. */
  url: string;
  text: string;
  language: "typescript" | "javascript";
}

/** Transpiles one file. Rejects with a {@linkcode StagingError} when it cannot be parsed. */
export async function transpile(file: SourceFile): Promise<Transpiled> {
  const { code, mappings } = file.language === "typescript"
    ? await eraseTypes(file)
    : { code: file.text, mappings: identityMappings(file.text) };
  const { imports, metas, decorator } = scanModule(code);
  const lines = new LineIndex(code);
  const last = Math.max(decorator ?? 0, imports.at(-1)?.position ?? 0);
  const segments = decodeMappings(mappings, lines.at(last).line + 1);
  const origin = (offset: number): Position => {
    const { line, column } = lines.at(offset);
    return lookUp(segments, line, column) ?? { line: 0, column: 0 };
  };
  if (decorator !== undefined) {
    throw errorAt(file, origin(decorator), (at) => `Cannot load "${at}": a decorator`, {
      code: "UNSUPPORTED",
      expected: "syntax that V8 runs once the types are gone; it has no decorators",
      next: "call the decorator as a function, or run the file by `deno test`",
    });
  }
  return {
    code,
    mappings,
    imports: imports.map((found) => ({ ...found, ...origin(found.position) })),
    metas,
  };
}

async function eraseTypes(file: SourceFile): Promise<{ code: string; mappings: string }> {
  // Loaded late: its 3.7 MB are not wanted when every file is in the cache.
  const { default: swc } = await import("@swc/wasm-typescript");
  try {
    const output = swc.transformSync(file.text, {
      filename: file.url,
      mode: "transform",
      module: true,
      sourceMap: true,
      // As Deno does it: assigning to an enum's member is seen by those who read it.
      transform: { tsEnumIsMutable: true, noEmptyExport: true },
    });
    const map = JSON.parse(output.map ?? "{}") as { mappings?: string };
    return { code: output.code, mappings: map.mappings ?? "" };
  } catch (cause) {
    throw syntaxError(file, cause);
  }
}

/** What swc throws; its line counts from 1, its column from 0 in cells of a terminal. */
interface SwcDiagnostic {
  code: string;
  message: string;
  startLine: number;
  startColumn: number;
}

function syntaxError(file: SourceFile, cause: unknown): unknown {
  if (!isDiagnostic(cause)) return cause;
  const lines = file.text.split(/\r?\n/);
  const line = Math.min(cause.startLine, lines.length) - 1;
  const text = lines[line] ?? "";
  const place = { line, column: columnOfDisplay(text, cause.startColumn) };
  const near = lines.slice(Math.max(0, line - 1), line + 2).join("\n");
  if (/<\/[\w.]*>|<[\w.]+(?:\s[^<>]*)?\/>/.test(near)) {
    return errorAt(file, place, (at) => `Cannot load "${at}": this looks like JSX`, {
      code: "UNSUPPORTED",
      expected: "TypeScript without JSX",
      next: "build the elements by function calls",
    });
  }
  // "Unexpected token `=`. Expected an identifier, void, …"
  const [what = "", expected] = cause.message.replace(/\.$/, "").split(/\. (?=Expected )/);
  return errorAt(file, place, (at) => `Cannot parse "${at}": ${what}`, {
    code: "SYNTAX",
    expected: expected?.replace(/^Expected /, ""),
  });
}

function isDiagnostic(cause: unknown): cause is SwcDiagnostic {
  return typeof cause === "object" && cause !== null && "startLine" in cause && "message" in cause;
}

/** A segment for each token: what V8 names in a stack trace is the start of one. */
function identityMappings(text: string): string {
  const lines = new LineIndex(text);
  const mappings: Mappings = Array.from({ length: lines.count }, () => []);
  for (const token of tokenize(text)) {
    const { line, column } = lines.at(token.start);
    mappings[line]!.push([column, line, column]);
  }
  return encodeMappings(mappings);
}
