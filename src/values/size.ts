/** A number of bytes, or text such as `"512K"`, `"64M"` or `"2GiB"` (powers of 1024). */
export type Size = number | string;

const POWERS: Record<string, number> = { "": 0, k: 1, m: 2, g: 3, t: 4 };

/**
 * Reads a size as bytes.
 *
 * @example Units are powers of 1024
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { bytes } from "./size.ts";
 *
 * assertEquals(bytes("64M"), 64 * 1024 * 1024);
 * ```
 *
 * @param name What the size is for, named in errors.
 * @throws {RangeError} If the value is negative, not whole, or text of another form.
 */
export function bytes(size: Size, name = "size"): number {
  if (typeof size === "number") {
    if (Number.isSafeInteger(size) && size >= 0) return size;
  } else if (typeof size === "string") {
    const match = /^(\d+(?:\.\d+)?)(?:([kmgt])(?:ib?)?)?$/i.exec(size);
    if (match) {
      const value = Number(match[1]) * 1024 ** POWERS[(match[2] ?? "").toLowerCase()]!;
      if (Number.isSafeInteger(value)) return value;
    }
  }
  const shown = typeof size === "string"
    ? JSON.stringify(size)
    : typeof size === "number"
    ? String(size)
    : `a value of type ${size === null ? "null" : typeof size}`;
  throw new RangeError(
    `Cannot use ${shown} as ${name}: expected a whole number of bytes, or text such as "512K", "64M", "2G"`,
  );
}

/** Shows bytes as a person writes them: `"1.5 MiB"`. */
export function formatBytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  while (value >= 1024 && power < units.length - 1) {
    value /= 1024;
    power++;
  }
  return `${Number(value.toFixed(power === 0 || value >= 100 ? 0 : 1))} ${units[power]}`;
}
