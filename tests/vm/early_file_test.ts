import { assertEquals } from "@std/assert";
import { makeProject, ofKind } from "../runner/_belljar.ts";
import { readEvents } from "../../src/runner/event_file.ts";
import { SHARED } from "./_fixtures.ts";
import { belljarCommand } from "./_terminal.ts";

Deno.test("what the command line says of machines holds for every file, however early its process was started", async (t) => {
  const body = (name: string) =>
    `import { lab, test } from "belljar";
    test("boots", async (t) => {
      const vm = await lab.vm("${name}", "tiny").boot();
      t.assertEquals((await vm.run("echo up")).stdout, "up\\n");
    });`;
  await using project = await makeProject({ "a.test.ts": body("a"), "b.test.ts": body("b") });
  // A compiled program starts the first file early once it has its cache of compiled code: that is made first.
  const rows: [string[], Record<string, unknown>][] = [
    [[], {}],
    [["--cold"], { how: "boot" }],
    [["--vmm", "local"], { transport: "local" }],
    [["--accel", "tcg", "--transport", "serial"], { how: "clone", transport: "serial" }],
  ];
  for (const [options, expected] of rows) {
    await t.step(`belljar run ${options.join(" ")}`, async () => {
      const events = project.path("events.jsonl");
      const [program, ...args] = belljarCommand(["run", "--events", events, ...options]);
      const { code, stdout, stderr } = await new Deno.Command(program!, {
        args,
        cwd: project.dir,
        env: SHARED,
      }).output();
      const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
      assertEquals(code, 0, text);
      const started = ofKind(await readEvents(events), "vm_started");
      assertEquals(started.map(({ vm }) => vm).sort(), ["a", "b"]);
      for (const event of started) {
        const seen = Object.keys(expected).map((key) => [key, event[key as keyof typeof event]]);
        assertEquals(Object.fromEntries(seen), expected);
      }
    });
  }
});
