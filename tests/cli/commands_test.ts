import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { commandTree } from "../../src/cli/mod.ts";
import { DENO_FLAGS, makeProject } from "../runner/_belljar.ts";

Deno.test("belljar --help names every command, and each command has help with examples or options", async (t) => {
  await using project = await makeProject();
  const { code, out } = await project.belljar(["--help"]);
  assertEquals(code, 0);
  const commands = commandTree().getCommands();
  const names = commands.map((command) => command.getName());
  for (
    const name of "clean completions doctor exec image init licenses list report run with".split(
      " ",
    )
  ) {
    assertEquals(names.includes(name), true, name);
  }
  for (const command of commands) {
    await t.step(command.getName(), () => {
      assertMatch(out, new RegExp(`^  ${command.getName()}\\b`, "m"));
      assertStringIncludes(command.getHelp(), `Usage: belljar ${command.getName()}`);
    });
  }
  const help = await project.belljar(["run", "--help"]);
  assertEquals([help.code, help.err], [0, ""]);
  assertStringIncludes(help.out, "Examples:");
  assertMatch((await project.belljar(["--version"])).out, /^belljar \d+\.\d+\.\d+\n$/);
});

Deno.test("belljar init makes what an author needs, and keeps what is there", async () => {
  await using project = await makeProject({
    "deno.json": `{ "imports": { "x": "./x.ts" }, "unstable": ["cron"] }`,
  });
  const first = await project.belljar(["init"]);
  assertEquals([first.code, first.err], [0, ""]);
  assertStringIncludes(first.out, "Next: belljar run tests/first.test.ts");
  const config = JSON.parse(await Deno.readTextFile(project.path("deno.json")));
  assertEquals(config.imports.x, "./x.ts");
  assertMatch(config.imports.belljar, /src\/mod\.ts$/);
  assertEquals(config.unstable, ["cron", "vsock"]);
  await Deno.writeTextFile(project.path("tests/first.test.ts"), "// mine\n");
  const second = await project.belljar(["init"]);
  assertStringIncludes(second.out, "kept     deno.json");
  assertEquals(await Deno.readTextFile(project.path("tests/first.test.ts")), "// mine\n");
});

Deno.test("belljar init does not touch a configuration with comments, and says what to add", async () => {
  const text = `{ // mine\n "imports": {} }`;
  await using project = await makeProject({ "deno.jsonc": text });
  const { code, err } = await project.belljar(["init"]);
  assertEquals(code, 1);
  assertStringIncludes(err, "deno.jsonc was not changed: add {");
  assertEquals(await Deno.readTextFile(project.path("deno.jsonc")), text);
});

Deno.test("the sample of belljar init passes deno check", async () => {
  await using project = await makeProject();
  assertEquals((await project.belljar(["init"])).code, 0);
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["check", ...DENO_FLAGS, project.path("tests/first.test.ts")],
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
});

Deno.test("belljar licenses names versions, licences and sources", async () => {
  await using project = await makeProject();
  const { code, out } = await project.belljar(["licenses", "--json"]);
  assertEquals(code, 0);
  const { parts } = JSON.parse(out);
  for (const { name, version, license, source } of parts) {
    assertEquals([name, version, license, source].every((text) => text !== ""), true);
  }
  assertStringIncludes((await project.belljar(["licenses"])).out, "@std/assert");
});

Deno.test("belljar with starts services, gives the command their addresses, and ends with its code", async () => {
  await using project = await makeProject({
    "services.json": JSON.stringify([{
      name: "web",
      command: ["sh", "-c", "echo serving; exec sleep 60"],
    }]),
    "broken.json": JSON.stringify([{ name: "web", command: "echo cannot start >&2; exit 4" }]),
    "wrong.json": JSON.stringify([{ name: "web", comand: "x" }]),
  });
  const good = await project.belljar([
    "with",
    "services.json",
    "--",
    "sh",
    "-c",
    "echo body; exit 0",
  ]);
  assertEquals([good.code, good.out, good.err], [0, "body\n", ""]);
  const bad = await project.belljar(["with", "services.json", "--", "sh", "-c", "exit 6"]);
  assertEquals(bad.code, 6);
  assertStringIncludes(bad.err, "[web] serving");
  const broken = await project.belljar(["with", "broken.json", "--", "true"]);
  assertEquals(broken.code, 3);
  assertStringIncludes(broken.err, "cannot start");
  const wrong = await project.belljar(["with", "wrong.json", "--", "true"]);
  assertEquals(wrong.code, 2);
  assertStringIncludes(wrong.err, `"comand"`);
});

Deno.test("belljar doctor says what is missing, with a fix, and exits 3", async () => {
  await using project = await makeProject();
  const { code, out } = await project.belljar(["doctor"], { BELLJAR_QEMU: "/nowhere/qemu" });
  assertEquals(code, 3);
  assertMatch(out, /problem +qemu +.*\/nowhere\/qemu/);
  assertStringIncludes(out, "fix:");
  assertStringIncludes(out, "Tests with machines cannot run here.");
  const json = await project.belljar(["doctor", "--json"], { BELLJAR_QEMU: "/nowhere/qemu" });
  const { ok, facts } = JSON.parse(json.out);
  assertEquals(ok, false);
  const names = facts.map(({ name }: { name: string }) => name);
  for (
    const name of [
      "belljar",
      "host",
      "folders",
      "qemu",
      "agent",
      "images",
      "templates",
      "transport",
    ]
  ) {
    assertEquals(names.includes(name), true, name);
  }
});

Deno.test("belljar clean and image list work on an empty cache", async () => {
  await using project = await makeProject();
  const clean = await project.belljar(["clean"]);
  assertEquals([clean.code, clean.err], [0, ""]);
  const list = await project.belljar(["image", "list"]);
  assertEquals([list.code, list.out], [0, "No image is built yet: belljar image build tiny\n"]);
  assertEquals(JSON.parse((await project.belljar(["image", "list", "--json"])).out).images, []);
  const path = await project.belljar(["image", "path", "tinny"]);
  assertEquals(path.code, 3);
  assertStringIncludes(path.err, `"tiny"`);
});

Deno.test("belljar.config.ts sets defaults; variables win over it, and flags over those", async () => {
  await using project = await makeProject({
    "belljar.config.ts": `import { defineConfig } from "belljar";
      export default defineConfig({ includeSlow: true, timeout: "7s", retries: 1 });`,
    "x.test.ts": `import { test } from "belljar";
      test("slow", { slow: true }, () => {});
      test("fails", (t) => t.fail());`,
  });
  const limits = (events: readonly { kind: string }[]) =>
    events.filter(({ kind }) => kind === "test_started").map((event) =>
      (event as unknown as { timeoutMs: number }).timeoutMs
    );
  const plain = await project.run();
  assertEquals(limits(plain.events), [7000, 7000, 7000]);
  assertEquals(
    limits((await project.run([], { BELLJAR_TIMEOUT: "8s", BELLJAR_RETRIES: "0" })).events),
    [8000, 8000],
  );
  for (
    const [name, expected] of [["ACCEL", "auto, kvm, tcg"], ["STANDBY", "auto, always, never"]]
  ) {
    const { code, err } = await project.run([], { [`BELLJAR_${name}`]: "bogus" });
    assertEquals(code, 2);
    assertStringIncludes(err, `Cannot use BELLJAR_${name}=bogus`);
    assertStringIncludes(err, `expected: ${expected}`);
  }
  const flags = await project.run(["--timeout", "9s", "--retries", "0"], { BELLJAR_TIMEOUT: "8s" });
  assertEquals(limits(flags.events), [9000, 9000]);
  await project.write({
    "belljar.config.ts":
      `import { defineConfig } from "belljar"; defineConfig({ timout: 1 } as never);`,
  });
  const wrong = await project.run();
  assertEquals(wrong.code, 2);
  assertStringIncludes(wrong.err, `did you mean "timeout"?`);
});
