/** The other side of raw_echo.c: the bare bytes of a transport. */
import { findProgram, output, ROOT } from "./bench.ts";
import type { Bench } from "./bench.ts";
import { concatBytes, writeAll } from "../../src/wire/mod.ts";

const PART = 256 * 1024;

/** A connection to raw_echo.c. Closing ends the program, too. */
export class RawLine {
  #conn: Deno.Conn;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Sends `size` bytes and takes them back. */
  async echo(size: number): Promise<void> {
    await this.#request("E", size, new Uint8Array(size));
    await this.#take(size);
  }

  /** Sends `size` bytes, and waits until the other end has read them all. */
  async drain(size: number): Promise<void> {
    await this.#request("D", size, new Uint8Array(0));
    const part = new Uint8Array(PART);
    for (let left = size; left > 0; left -= part.length) {
      await writeAll(this.#conn, part.subarray(0, Math.min(left, part.length)));
    }
    await this.#take(1);
  }

  /** Takes `size` bytes that the other end sends. */
  async source(size: number): Promise<void> {
    await this.#request("S", size, new Uint8Array(0));
    await this.#take(size);
  }

  close(): void {
    this.#conn.close();
  }

  async #request(what: string, size: number, data: Uint8Array): Promise<void> {
    const head = new Uint8Array(9);
    head[0] = what.charCodeAt(0);
    new DataView(head.buffer).setBigUint64(1, BigInt(size), true);
    await writeAll(this.#conn, concatBytes([head, data]));
  }

  async #take(size: number): Promise<void> {
    const buffer = new Uint8Array(PART);
    for (let left = size; left > 0;) {
      const n = await this.#conn.read(buffer.subarray(0, Math.min(left, buffer.length)));
      if (n === null) throw new Error("raw_echo ended");
      left -= n;
    }
  }
}

let compiled: Promise<string> | undefined;

/** Path of raw_echo, compiled by the first call. */
export function rawEcho(bench: Pick<Bench, "run" | "dir">): Promise<string> {
  return compiled ??= compile(bench);
}

async function compile(bench: Pick<Bench, "run" | "dir">): Promise<string> {
  const path = `${bench.dir}/raw_echo`;
  const source = `${ROOT}tests/bench/raw_echo.c`;
  const flags = ["-static", "-O2", "-std=c11", "-D_GNU_SOURCE", source, "-o", path];
  if (await findProgram("musl-gcc")) {
    // It does not look where the kernel's headers are.
    const multiarch = `/usr/include/${Deno.build.arch}-linux-gnu`;
    const headers = ["-idirafter", "/usr/include", "-idirafter", multiarch];
    await output(bench, "musl-gcc", { args: [...headers, ...flags] });
  } else {
    await output(bench, "cc", { args: flags });
  }
  return path;
}
