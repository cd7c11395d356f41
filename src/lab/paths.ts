import { toBytes, toText } from "../wire/mod.ts";
import { visible } from "./_text.ts";

/** A path in the guest: text, or bytes where a name is not UTF-8. */
export type GuestPath = string | Uint8Array;

/**
 * A path as the wire carries it.
 *
 * @throws {TypeError} If it is neither text nor bytes, is empty, or holds a NUL.
 */
export function pathBytes(path: GuestPath, call: string): Uint8Array {
  if (typeof path !== "string" && !(path instanceof Uint8Array)) {
    const got = path === null ? "null" : Array.isArray(path) ? "array" : typeof path;
    throw new TypeError(`The path of ${call} must be a string or bytes, got ${got}`);
  }
  if (path.length === 0) throw new TypeError(`The path of ${call} must not be empty`);
  const bytes = toBytes(path);
  if (bytes.includes(0)) {
    throw new TypeError(`The path of ${call} must not contain NUL, got ${shownPath(path)}`);
  }
  return bytes;
}

/** A path as errors and reports show it. */
export function shownPath(path: GuestPath): string {
  const text = typeof path === "string" ? path : toText(path);
  return JSON.stringify(visible(text.length > 200 ? `${text.slice(0, 197)}...` : text));
}

/** Joins a name below a folder, as bytes. */
export function joinBytes(folder: Uint8Array, name: Uint8Array): Uint8Array {
  const slash = folder.at(-1) === 0x2f ? 0 : 1;
  const joined = new Uint8Array(folder.length + slash + name.length);
  joined.set(folder);
  if (slash) joined[folder.length] = 0x2f;
  joined.set(name, folder.length + slash);
  return joined;
}
