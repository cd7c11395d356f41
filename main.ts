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
  const { runCli } = await import("./src/cli/mod.ts");
  Deno.exit(await runCli(Deno.args));
}
