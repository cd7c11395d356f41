/** The `belljar` command. @module */

if (import.meta.main) {
  const [command, socket] = Deno.args;
  // One process per test file: it must not pay for the command tree.
  if (command === "__file" && socket !== undefined) {
    const { runChild } = await import("./src/runner/child.ts");
    await runChild(socket);
  }
  if (command === "__fixture" && socket !== undefined) {
    const { runFixtureBuilder } = await import("./src/runner/fixtures/builder.ts");
    await runFixtureBuilder(socket);
  }
  const early = command === "run" && hasCompiledCode()
    ? await import("./src/runner/early_file.ts")
    : undefined;
  await early?.startEarlyFile();
  const { runCli } = await import("./src/cli/mod.ts");
  const code = await runCli(Deno.args);
  await early?.discardEarlyFile();
  Deno.exit(code);
}

/**
 * Whether this compiled program has its cache of compiled code already. Deno writes it when every module that was asked for
 * so far has been compiled (`cli/rt/code_cache.rs`), so the run that makes it has to load everything at once. One with few
 * modules was begun beside another build of the same name: it is removed, and the next run makes it anew.
 */
function hasCompiledCode(): boolean {
  if (!Deno.build.standalone) return false;
  const cache = `${import.meta.dirname}.cache`;
  try {
    using file = Deno.openSync(cache);
    const header = new DataView(new ArrayBuffer(12)); // a key of 8 bytes, and the number of modules
    if (file.readSync(new Uint8Array(header.buffer)) === 12 && header.getUint32(8, true) > 200) {
      return true;
    }
    Deno.removeSync(cache);
  } catch {
    // There is none, or it is somebody else's: then the first file starts in its turn.
  }
  return false;
}
