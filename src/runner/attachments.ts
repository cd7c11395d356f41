import { extname, isAbsolute, join, resolve } from "node:path";
import type { AttachedData } from "../dsl/mod.ts";

/** What an attachment's event says. */
export interface StoredAttachment {
  name: string;
  mediaType: string;
  size: number;
  path?: string;
  text?: string;
}

/** Longest text that travels in the event itself. */
const MAX_INLINE = 64 * 1024;

const TYPES: Record<string, string> = {
  ".txt": "text/plain",
  ".log": "text/plain",
  ".json": "application/json",
  ".html": "text/html",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".svg": "image/svg+xml",
  ".pcap": "application/vnd.tcpdump.pcap",
};

/** Stores an attachment below `artifacts`, if there is such a folder, and describes it. */
export function storeAttachment(
  data: AttachedData,
  artifacts: string | undefined,
  file: string,
  test: string,
): StoredAttachment {
  const { name } = data;
  const fallback = data.text === undefined ? "application/octet-stream" : "text/plain";
  const mediaType = TYPES[extname(name || data.path || "").toLowerCase()] ?? fallback;
  if (data.path !== undefined) {
    const path = isAbsolute(data.path) ? data.path : resolve(data.path);
    return { name, mediaType, size: Deno.statSync(path).size, path };
  }
  const bytes = data.bytes ?? new TextEncoder().encode(data.text);
  const inline = data.text !== undefined && bytes.length <= MAX_INLINE;
  const stored: StoredAttachment = { name, mediaType, size: bytes.length };
  if (inline) stored.text = data.text;
  if (artifacts !== undefined) {
    const folder = join(artifacts, fileName(file), fileName(test));
    Deno.mkdirSync(folder, { recursive: true });
    stored.path = join(folder, fileName(name));
    Deno.writeFileSync(stored.path, bytes);
  }
  return stored;
}

/** A name that cannot leave its folder: of letters, digits, and a few signs. */
export function fileName(name: string): string {
  const safe = name.replace(/[^\w.-]+/g, "_").replace(/^\.+/, "_").slice(0, 100);
  return safe === "" ? "_" : safe;
}
