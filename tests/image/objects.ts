import { assertEquals } from "@std/assert";
import { zstdCompressSync } from "node:zlib";

/** Compiles C source to an object or program, so that tests read real ELF files. */
export async function compileC(source: string, args: string[] = ["-c"]): Promise<Uint8Array> {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/source.c`, source);
    const { success, stderr } = await new Deno.Command("cc", {
      args: [...args, `${dir}/source.c`, "-o", `${dir}/out`],
    }).output();
    assertEquals(success, true, new TextDecoder().decode(stderr));
    return await Deno.readFile(`${dir}/out`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Compiles a file that looks like a kernel module as far as its `.modinfo` goes. */
export function compileModule(info: Record<string, string | string[]>): Promise<Uint8Array> {
  const entries = Object.entries(info).flatMap(([key, values]) =>
    [values].flat().map((value) => `${key}=${value}`)
  );
  const text = entries.map((entry) => `${entry}\\0`).join("");
  return compileC(
    `__attribute__((section(".modinfo"), used)) static const char info[] = "${text}";\n`,
  );
}

/** Runs a program that reads standard input, such as a compressor. */
export async function filter(
  program: string,
  args: string[],
  input: Uint8Array,
): Promise<Uint8Array> {
  const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(input).then(() => writer.close());
  const { success, stdout } = await child.output();
  await written;
  assertEquals(success, true);
  return stdout;
}

/** Compressions by the names that tests give them, made with what every machine has. */
export const COMPRESS: Record<string, (bytes: Uint8Array) => Promise<Uint8Array>> = {
  gzip: (bytes) => filter("gzip", ["-c"], bytes),
  xz: (bytes) => filter("xz", ["-c", "--check=crc32"], bytes),
  lzma: (bytes) => filter("xz", ["-c", "--format=lzma"], bytes),
  zstd: (bytes) => Promise.resolve(new Uint8Array(zstdCompressSync(bytes))),
  lz4: (bytes) => Promise.resolve(lz4Literals(bytes)),
};

/** The simplest LZ4 legacy frame: one block that holds everything as it is. */
function lz4Literals(bytes: Uint8Array): Uint8Array {
  const rest = bytes.length - 15;
  const length = [...Array(Math.floor(rest / 255)).fill(255), rest % 255];
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, 1 + length.length + bytes.length, true);
  return new Uint8Array([0x02, 0x21, 0x4c, 0x18, ...size, 0xf0, ...length, ...bytes]);
}

/** A folder that is removed at the end of its block. */
export async function tempDir(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "belljar-image-" });
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** Source of the note by which QEMU starts an ELF kernel. */
export const PVH_NOTE = `
__asm__(".pushsection .note.Xen, \\"a\\", @note\\n"
	".long 4, 8, 18\\n"
	".asciz \\"Xen\\"\\n"
	".quad 0x1000000\\n"
	".popsection");
`;
/** A program that needs nothing, in place of a kernel. */
export const KERNEL_SOURCE = "void _start(void) { for (;;); }\n";
export const KERNEL_LINK = ["-static", "-nostdlib", "-Wl,--build-id=none"];

/** A file with a bzImage's header around a payload. */
export function bzImage(payload: Uint8Array, release = "6.1.0-test (a@b) #1"): Uint8Array {
  const setup = new Uint8Array(2 * 512);
  const view = new DataView(setup.buffer);
  setup[0x1f1] = 1;
  setup.set(new TextEncoder().encode("HdrS"), 0x202);
  view.setUint16(0x20e, 0x100, true);
  view.setUint32(0x248, 16, true);
  view.setUint32(0x24c, payload.length, true);
  setup.set(new TextEncoder().encode(`${release}\0`), 0x300);
  return new Uint8Array([...setup, ...new Uint8Array(16), ...payload, 1, 2, 3]);
}

/** Compiles what {@linkcode kernelRelease} and the search for a PVH entry take for a kernel. */
export async function fakeKernel(): Promise<Uint8Array> {
  const vmlinux = await compileC(PVH_NOTE + KERNEL_SOURCE, KERNEL_LINK);
  return bzImage(await filter("gzip", ["-c"], vmlinux));
}

/** Tells whether a program can be found, also where a user's PATH often does not lead. */
export async function hasProgram(name: string): Promise<boolean> {
  const { success } = await new Deno.Command("sh", {
    args: ["-c", `PATH=$PATH:/usr/sbin:/sbin command -v ${name}`],
    stdout: "null",
  }).output();
  return success;
}
