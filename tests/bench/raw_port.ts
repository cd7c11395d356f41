import { bootFilesCpio, type Image } from "../../src/image/mod.ts";
import { type Accelerator, findQemu } from "../../src/vmm/mod.ts";
import { qemuArgs } from "../../src/vmm/qemu/argv.ts";
import { kernelCmdline } from "../../src/vmm/qemu/kernel_cmdline.ts";
import { concatBytes } from "../../src/wire/mod.ts";
import { type Bench, freshDir } from "./bench.ts";
import { rawEcho, RawLine } from "./raw_line.ts";

/** A machine in which nothing but raw_echo.c serves the virtio-serial port: the best that the port can do. */
export async function bootRawPort(
  bench: Bench,
  { image, accel }: { image: Image; accel: Accelerator },
): Promise<{ raw: RawLine } & AsyncDisposable> {
  const dir = await freshDir(bench);
  const init = await Deno.readFile(await rawEcho(bench));
  const archives = await Promise.all(image.initrds.map((path) => Deno.readFile(path)));
  const own = bootFilesCpio([{ path: "/init", content: init, mode: 0o755 }], image);
  const padded = archives.map((bytes) => concatBytes([bytes, new Uint8Array(-bytes.length & 3)]));
  await Deno.writeFile(`${dir}/initrd`, concatBytes([...padded, own]));
  const sockets = { qmp: `${dir}/q`, control: `${dir}/c`, console: `${dir}/t` };
  await using failed = new AsyncDisposableStack();
  const listeners = Object.values(sockets).map((path) => {
    const listener = Deno.listen({ transport: "unix", path });
    failed.defer(() => listener.close());
    return listener;
  });
  const args = qemuArgs({
    name: "raw",
    accel,
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
  const opened = failed.use(new AsyncDisposableStack());
  const { path } = await findQemu();
  opened.use(await bench.run.spawnGuarded(path, { args, stdout: "null", stderr: "null" }));
  const conns = await Promise.all(listeners.map((listener) => listener.accept()));
  const [qmp, control, console] = conns as [Deno.Conn, Deno.Conn, Deno.Conn];
  for (const conn of conns) opened.defer(() => conn.close());
  // What a full pipe would hold up.
  for (const conn of [qmp, console]) conn.readable.pipeTo(new WritableStream()).catch(() => {});
  const raw = new RawLine(control);
  await raw.echo(1); // answered once the guest serves the port
  const kept = opened.move();
  return { raw, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
