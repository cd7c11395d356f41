import { assertEquals } from "@std/assert";

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

/** A folder that is removed at the end of its block. */
export async function tempDir(): Promise<AsyncDisposable & { path: string }> {
  const path = await Deno.makeTempDir({ prefix: "belljar-image-" });
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}
