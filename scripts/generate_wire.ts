/**
 * Writes the agent's tables of the protocol, `src/agent/wire_gen.h`, from `src/wire/messages.ts`.
 *
 * `deno run -A scripts/generate_wire.ts` writes the file; with `--check` it only says whether the
 * file is as it would be written, by its exit code.
 *
 * @module
 */
import {
  EVENTS,
  FrameKind,
  LIMITS,
  OPS,
  PROTOCOL_VERSION,
  SYNC_MAGIC,
} from "../src/wire/messages.ts";
import type { Field, Shape } from "../src/wire/schema.ts";
import { VERSION } from "../src/wire/version.ts";

/** Where the generated header lies. */
export const WIRE_HEADER = new URL("../src/agent/wire_gen.h", import.meta.url);

const BASES: Record<string, string> = {
  "int": "WT_INT",
  "bool": "WT_BOOL",
  "str": "WT_STR",
  "bin": "WT_BIN",
  "bin or int": "WT_BIN_OR_INT",
};

/** `procSignal` as `PROC_SIGNAL`. */
function upperSnake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

function fieldRow(key: string, field: Field<unknown>): string {
  const parts = field.type.replace(/, optional$/, "").split("list of ");
  const base = BASES[parts.at(-1)!];
  if (!base) throw new TypeError(`Cannot describe the key "${key}" of type "${field.type}" in C`);
  return `\t{ "${key}", ${base}, ${parts.length - 1}, ${field.optional ? 1 : 0} },`;
}

function defineNumbers(prefix: string, values: Record<string, number>): string[] {
  return Object.entries(values).map(([name, value]) =>
    `#define ${prefix}${upperSnake(name)} ${value}`
  );
}

/** The header's text. */
export function wireHeader(): string {
  const ops = Object.entries(OPS) as [string, { request: Shape }][];
  const widest = Math.max(...ops.map(([, op]) => Object.keys(op.request).length));
  const magic = [...SYNC_MAGIC].map((byte) => `0x${byte.toString(16).padStart(2, "0")}`);
  const lines = [
    "/* Written by scripts/generate_wire.ts from src/wire/messages.ts: do not edit. */",
    "#ifndef WIRE_GEN_H",
    "#define WIRE_GEN_H",
    "",
    `#define BELLJAR_VERSION "${VERSION}"`,
    `#define PROTOCOL_VERSION ${PROTOCOL_VERSION}`,
    ...Object.entries(LIMITS).map(([name, value]) => `#define WIRE_${name} ${value}`),
    `#define WIRE_MAGIC_SIZE ${SYNC_MAGIC.length}`,
    `#define WIRE_MAGIC_BYTES { ${magic.slice(0, 8).join(", ")}, \\`,
    `\t${magic.slice(8).join(", ")} }`,
    "",
    ...defineNumbers("FRAME_", FrameKind),
    "",
    "enum wire_op {",
    ...ops.map(([name]) => `\tOP_${upperSnake(name)},`),
    "\tOP_COUNT",
    "};",
    "",
    `#define WIRE_MAX_FIELDS ${widest}`,
    "",
    ...ops.flatMap(([name, { request }]) => {
      const keys = Object.keys(request);
      if (keys.length === 0) return [];
      const rows = keys.map((key) => `\tF_${upperSnake(name)}_${upperSnake(key)},`);
      return [`enum {`, ...rows, "};"];
    }),
    "",
    ...Object.keys(EVENTS).map((name) => `#define EV_${upperSnake(name)} "${name}"`),
    "",
    "#endif",
    "",
    "/* Outside of the guard: only wire.c, which knows the types, wants these. */",
    "#ifdef WIRE_TABLES",
    ...ops.flatMap(([name, { request }]) => {
      const entries = Object.entries(request);
      if (entries.length === 0) return [];
      return [
        `static const struct wire_field fields_of_${name}[] = {`,
        ...entries.map(([key, field]) => fieldRow(key, field)),
        "};",
      ];
    }),
    "static const struct wire_op_info wire_ops[OP_COUNT] = {",
    ...ops.map(([name, { request }]) => {
      const count = Object.keys(request).length;
      return `\t{ "${name}", ${count === 0 ? "NULL" : `fields_of_${name}`}, ${count} },`;
    }),
    "};",
    "#endif",
    "",
  ];
  return lines.join("\n");
}

if (import.meta.main) {
  const text = wireHeader();
  if (Deno.args.includes("--check")) {
    const present = await Deno.readTextFile(WIRE_HEADER).catch(() => "");
    if (present !== text) {
      // deno-lint-ignore no-console -- what a check has to say
      console.error("src/agent/wire_gen.h is stale: run scripts/generate_wire.ts");
      Deno.exit(1);
    }
  } else {
    await Deno.writeTextFile(WIRE_HEADER, text);
  }
}
