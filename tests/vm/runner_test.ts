import { assertEquals, assertLess, assertMatch, assertStringIncludes } from "@std/assert";
import { processesWithToken } from "../../src/host/mod.ts";
import type { BelljarEvent } from "../../src/report/events.ts";
import { makeProject, ofKind, outcomes, type Project } from "../runner/_belljar.ts";

/** The user's own cache: images and templates are not built anew for each test. */
const SHARED = {
  BELLJAR_CACHE_DIR: Deno.env.get("BELLJAR_CACHE_DIR") ?? `${Deno.env.get("HOME")}/.cache/belljar`,
};

function of(events: readonly BelljarEvent[], test: string): Record<string, unknown> {
  return ofKind(events, "test_finished").find((event) => event.test === test)!;
}

Deno.test("what a test leaves open is closed newest first, and one vm_stopped follows per machine", async () => {
  await using project = await makeProject({
    "x.test.ts": `import { lab, test } from "belljar";
      const shared = lab.vm("shared", "tiny");
      test("leaves everything open", async (t) => {
        await shared.boot();
        const own = await lab.vm("own", "tiny").boot();
        await own.runAsync("sleep 301");
        await own.openFile("/etc/hosts", { read: true });
        const worker = await own.spawnWorker();
        await worker.runAsync("sleep 302");
        await own.background("sleep 303");
        await own.tail("/etc/hosts");
        await shared.runAsync("sleep 304");
      });
      test("finds nothing of it", async (t) => {
        const { stdout } = await shared.run("ps");
        t.assert(!stdout.includes("sleep 30"), stdout);
        t.assertThrows(() => lab.vm("own"), TypeError);
      });`,
  });
  const { code, events, out } = await project.run([], SHARED);
  assertEquals(code, 0, out);
  const closed = ofKind(events, "resource_closed").filter(({ by }) => by === "walker");
  const kinds = closed.filter(({ test }) => test === "leaves everything open").map((
    { resource, name },
  ) => /sleep 30\d/.exec(String(name))?.[0] ?? resource);
  assertEquals(kinds, [
    "sleep 304",
    "stream",
    "sleep 303",
    "sleep 302",
    "worker",
    "file",
    "sleep 301",
    "machine",
  ]);
  const stopped = ofKind(events, "vm_stopped").map(({ vm }) => vm).toSorted();
  assertEquals(stopped, ["own", "shared"]);
  assertEquals(ofKind(events, "vm_started").length, 2);
});

Deno.test("a test stuck in the guest ends at its timeout; only its own machine goes", async () => {
  await using project = await makeProject({
    "x.test.ts": `import { beforeAll, lab, test } from "belljar";
      let shared;
      beforeAll(async () => shared = await lab.vm("shared", "tiny").boot());
      test("stuck on its own machine", { timeout: "8s" }, async () => {
        const own = await lab.vm("own", "tiny").boot();
        await own.run("mkfifo /tmp/f");
        await own.syscall("openat", -100, new TextEncoder().encode("/tmp/f\\0"), 0, 0);
      });
      test("stuck on the file's machine", { timeout: "2s" }, async () => {
        await shared.run("sleep 100");
      });
      test("goes on", async (t) => {
        t.assertEquals((await shared.run("echo alive")).stdout, "alive\\n");
        t.assertEquals((await shared.run("ps | grep -c '[s]leep 100' || true")).stdout, "0\\n");
      });`,
  });
  const { code, events, out } = await project.run([], SHARED);
  assertEquals(code, 1);
  assertEquals(outcomes(events), [
    "x.test.ts > goes on: passed",
    "x.test.ts > stuck on its own machine: failed (timeout)",
    "x.test.ts > stuck on the file's machine: failed (timeout)",
  ]);
  const own = of(events, "stuck on its own machine") as {
    inProgress: { op: string; vm: string }[];
    durationMs: number;
  };
  assertEquals(own.inProgress.map(({ vm }) => vm), ["own"]);
  assertMatch(own.inProgress[0]!.op, /openat/);
  assertLess(own.durationMs, 25_000);
  assertStringIncludes(out, `machine "shared": run("sleep 100"), in progress for`);
  assertStringIncludes(out, "x.test.ts:7:19");
  const stopped = ofKind(events, "vm_stopped").map(({ vm, test }) => [vm, test]);
  assertEquals(stopped, [["own", "stuck on its own machine"], ["shared", undefined]]);
});

Deno.test("a panic fails the test as the guest's fault, with the console's last lines", async () => {
  await using project = await makeProject({
    "x.test.ts": `import { lab, test } from "belljar";
      test("panics", async () => {
        const vm = await lab.vm("v", "tiny").boot({ cold: true });
        await vm.run("echo c > /proc/sysrq-trigger", { timeout: "60s" });
      });`,
  });
  const { code, events, out } = await project.run([], SHARED);
  assertEquals(code, 1);
  const { class: kind, consoles } = of(events, "panics") as {
    class: string;
    consoles: { lines: string[] }[];
  };
  assertEquals(kind, "guest");
  assertStringIncludes(
    consoles[0]!.lines.join("\n"),
    "Kernel panic - not syncing: sysrq triggered crash",
  );
  assertStringIncludes(out, `console of "v", last lines of`);
});

async function waitFor(path: string): Promise<void> {
  const deadline = performance.now() + 120_000;
  while (!await Deno.stat(path).catch(() => undefined)) {
    if (performance.now() > deadline) throw new Error(`${path} was not made`);
    await new Promise((resolve) => setTimeout(resolve, 20)); // another process makes it
  }
}

/** Tokens of the run and of its file's process, found in their environments before they are killed. */
async function tokensOf(mark: string): Promise<string[]> {
  const tokens = new Set<string>();
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const environ = await Deno.readTextFile(`/proc/${name}/environ`).catch(() => "");
    if (!environ.includes(`BELLJAR_TEST_MARK=${mark}`)) continue;
    const token = /BELLJAR_TOKEN=([0-9a-f]+)/.exec(environ)?.[1];
    if (token) tokens.add(token);
  }
  return [...tokens];
}

async function waiting(phase: string): Promise<Project> {
  const body: Record<string, string> = {
    boot: `Deno.writeTextFileSync("ready", ""); await lab.vm("v", "tiny").boot({ cold: true });`,
    run:
      `const vm = await lab.vm("v", "tiny").boot(); Deno.writeTextFileSync("ready", ""); await vm.run("sleep 100");`,
    cleanup: `const vm = await lab.vm("v", "tiny").boot();
      t.defer(async () => { Deno.writeTextFileSync("ready", ""); await vm.run("sleep 3"); });`,
  };
  return await makeProject({
    "x.test.ts": `import { lab, test } from "belljar"; test("x", async (t) => { ${body[phase]} });`,
  });
}

for (const phase of ["boot", "run", "cleanup"]) {
  for (const signal of ["SIGKILL", "SIGINT", "SIGTERM"] as const) {
    Deno.test(`${signal} of belljar during ${phase} leaves no process`, async () => {
      await using project = await waiting(phase);
      const mark = crypto.randomUUID();
      const child = project.start(["run"], { ...SHARED, BELLJAR_TEST_MARK: mark });
      await waitFor(project.path("ready"));
      const tokens = await tokensOf(mark);
      child.kill(signal);
      await child.output();
      const deadline = performance.now() + 10_000;
      let left = 1;
      while (left > 0 && performance.now() < deadline) {
        left = (await Promise.all(tokens.map((token) => processesWithToken(token)))).flat().length;
        if (left > 0) await new Promise((resolve) => setTimeout(resolve, 20)); // not our children
      }
      assertEquals(left, 0);
      assertEquals(tokens.length > 0, true);
    });
  }
}

Deno.test("belljar exec runs a command with live output and ends with its code", async (t) => {
  await using project = await makeProject();
  const rows: [string[], number, string, string][] = [
    [["tiny", "--", "sh", "-c", "echo out; echo err >&2; exit 3"], 3, "out\n", "err\n"],
    [["tiny", "--", "cat", "/proc/sys/kernel/ostype"], 0, "Linux\n", ""],
    [["tiny", "--", "sh", "-c", "kill -9 $$"], 137, "", ""],
  ];
  for (const [args, code, out, err] of rows) {
    await t.step(args.join(" "), async () => {
      assertEquals(await project.belljar(["exec", ...args], SHARED), { code, out, err });
    });
  }
  await t.step("an image that is not there", async () => {
    const { code, err } = await project.belljar(["exec", "tinny", "--", "true"], SHARED);
    assertEquals(code, 3);
    assertStringIncludes(err, `"tiny"`);
  });
  await t.step("no command", async () => {
    const { code, err } = await project.belljar(["exec", "tiny"], SHARED);
    assertEquals(code, 2);
    assertStringIncludes(err, "write it after --");
  });
});
