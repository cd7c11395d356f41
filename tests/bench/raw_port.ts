import { bootFilesCpio, type Image } from "../../src/image/mod.ts";
import { hostRun } from "../../src/vmm/mod.ts";
import type { GuardedProcess } from "../../src/host/mod.ts";
import { qemuArgs } from "../../src/vmm/qemu/argv.ts";
import { kernelCmdline } from "../../src/vmm/qemu/kernel_cmdline.ts";
import { concatBytes, writeAll } from "../../src/wire/mod.ts";

/** A machine in which nothing but `raw_echo.c` serves the virtio-serial port: the best that the port can do. */
export class RawPort implements AsyncDisposable {
  #conn: Deno.Conn;
  #child: GuardedProcess;
  #dir: string;

  private constructor(conn: Deno.Conn, child: GuardedProcess, dir: string) {
    this.#conn = conn;
    this.#child = child;
    this.#dir = dir;
  }

  /** Boots it from the kernel and the modules of `image`. */
  static async boot(image: Image): Promise<RawPort> {
    const dir = await Deno.makeTempDir({ prefix: "bj-raw-" });
    const init = await compile(dir);
    const archives = await Promise.all(image.initrds.map((path) => Deno.readFile(path)));
    const own = bootFilesCpio([{ path: "/init", content: init, mode: 0o755 }], image);
    const padded = archives.map((bytes) => concatBytes([bytes, new Uint8Array(-bytes.length & 3)]));
    await Deno.writeFile(`${dir}/initrd`, concatBytes([...padded, own]));
    const sockets = { qmp: `${dir}/qmp`, control: `${dir}/ctl`, console: `${dir}/con` };
    const listeners = Object.values(sockets).map((path) =>
      Deno.listen({ transport: "unix", path })
    );
    const args = qemuArgs({
      name: "raw",
      accel: "tcg",
      memoryBytes: 256 * 1024 * 1024,
      cpus: 1,
      ram: { kind: "private" },
      kernel: image.kernel,
      initrd: `${dir}/initrd`,
      cmdline: kernelCmdline({ image: image.cmdline }),
      sockets,
      disks: [],
      nics: [],
      firmwareFiles: [],
      incoming: false,
    });
    const run = await hostRun();
    const child = await run.spawnGuarded("qemu-system-x86_64", {
      args,
      stdout: "null",
      stderr: "null",
    });
    const [, conn] = await Promise.all(listeners.map((listener) => listener.accept()));
    for (const listener of listeners) listener.close();
    const port = new RawPort(conn!, child, dir);
    await port.echo(1); // Answered once the guest serves the port.
    return port;
  }

  /** Sends `size` bytes and takes them back. */
  async echo(size: number): Promise<void> {
    await this.#request("E", size, new Uint8Array(size));
    await this.#take(size);
  }

  /** Sends `size` bytes, and waits until the guest has read them all. */
  async drain(size: number): Promise<void> {
    await this.#request("D", size, new Uint8Array(0));
    const part = new Uint8Array(256 * 1024);
    for (let left = size; left > 0; left -= part.length) {
      await writeAll(this.#conn, part.subarray(0, Math.min(left, part.length)));
    }
    await this.#take(1);
  }

  /** Takes `size` bytes that the guest sends. */
  async source(size: number): Promise<void> {
    await this.#request("S", size, new Uint8Array(0));
    await this.#take(size);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
    this.#conn.close();
    await Deno.remove(this.#dir, { recursive: true });
  }

  async #request(what: string, size: number, data: Uint8Array): Promise<void> {
    const head = new Uint8Array(9);
    head[0] = what.charCodeAt(0);
    new DataView(head.buffer).setBigUint64(1, BigInt(size), true);
    await writeAll(this.#conn, concatBytes([head, data]));
  }

  async #take(size: number): Promise<void> {
    const buffer = new Uint8Array(256 * 1024);
    for (let left = size; left > 0;) {
      const n = await this.#conn.read(buffer.subarray(0, Math.min(left, buffer.length)));
      if (n === null) throw new Error("the machine with the raw port ended");
      left -= n;
    }
  }
}

async function compile(dir: string): Promise<Uint8Array> {
  const source = new URL("./raw_echo.c", import.meta.url).pathname;
  const headers = ["-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"];
  const { success, stderr } = await new Deno.Command("musl-gcc", {
    args: ["-static", "-O2", "-std=c11", "-D_GNU_SOURCE", ...headers, source, "-o", `${dir}/init`],
  }).output();
  if (!success) throw new Error(`Cannot compile raw_echo.c: ${new TextDecoder().decode(stderr)}`);
  return await Deno.readFile(`${dir}/init`);
}
