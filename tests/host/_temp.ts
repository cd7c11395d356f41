/** A temporary folder that is removed at the end of its block. */
export async function makeTempDir(): Promise<AsyncDisposable & { path: string }> {
  // Not under TMPDIR: sockets and run folders in it need a short path.
  const path = await Deno.makeTempDir({ dir: "/tmp", prefix: "bj-" });
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}
