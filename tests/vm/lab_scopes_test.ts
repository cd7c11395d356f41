import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { lab, type Vm } from "../../src/lab/mod.ts";
import { Scope, ScopeError, setEventSink } from "../../src/scope/mod.ts";
import { closeRunAfterwards, inScope, labTest } from "./_lab.ts";

closeRunAfterwards();

/** What the guest itself says is left; pids of the harness' own asking do not count. */
async function leftOvers(vm: Vm, pids: number[]): Promise<number[]> {
  const processes = await vm.processes();
  return pids.filter((pid) => processes.some((p) => p.pid === pid && p.state !== "Z"));
}

labTest(
  "10: what a test leaves open is closed newest first, and the next sees none of it",
  async () => {
    const events: { kind: string; fields: Record<string, unknown> }[] = [];
    const previous = setEventSink((kind, fields) => events.push({ kind, fields }));
    const pids: number[] = [];
    try {
      await inScope("file", async (file) => {
        const vm = await lab.vm("v", "tiny").boot();
        // The machine's own watch, for barriers, is there; and the first watch opens what all watches share.
        await vm.run("belljar-barrier ready 1 60", { check: true });
        await (await vm.watch("/tmp")).close();
        const before = await vm.counters();
        const report = await inScope("first test", async () => {
          for (const seconds of [501, 502, 503]) {
            pids.push((await vm.runAsync("sleep", { args: [String(seconds)] })).pid);
          }
          await vm.openFile("/tmp/one", { write: true, create: true });
          await vm.openFile("/tmp/two", { write: true, create: true });
          await vm.tail("/tmp/one");
          pids.push((await vm.spawnWorker()).pid);
          pids.push((await vm.background("exec sleep 504")).pid!);
        }, file);
        assertEquals(report.error, undefined);
        assertEquals(
          report.closed.map(({ kind }) => kind),
          ["job", "worker", "stream", "file", "file", "process", "process", "process"],
        );
        assertEquals(
          report.closed.filter(({ leaked }) => leaked).map(({ kind }) => kind),
          ["job", "file", "file", "process", "process", "process"],
        );
        for (const { site } of report.closed) {
          assertStringIncludes(site!.file, "lab_scopes_test.ts");
        }
        await inScope("second test", async () => {
          assertEquals(await leftOvers(vm, pids), []);
          const after = await vm.waitUntil(async () => {
            const now = await vm.counters();
            return now.fds <= before.fds ? now : undefined;
          }, { desc: "no more descriptors than before", timeout: 30, interval: 0.05 });
          assertEquals([after.files, after.procs, after.workers, after.zombies], [0, 0, 0, 0]);
        }, file);
      });
    } finally {
      setEventSink(previous);
    }
    const closed = events.filter(({ kind, fields }) =>
      kind === "resource_closed" && fields.by === "walker"
    );
    assertEquals(closed.map(({ fields }) => fields.kind), [
      "job",
      "worker",
      "stream",
      "file",
      "file",
      "process",
      "process",
      "process",
      "machine",
    ]);
    assertEquals(events.filter(({ kind }) => kind === "vm_stopped").length, 1);
    assertEquals(events.filter(({ kind }) => kind === "vm_started").length, 1);
  },
);

labTest(
  "11: closers that throw, hang or meet a stubborn process do not keep others open",
  async ({ t }) => {
    let pid = 0;
    let stubborn = 0;
    const machine = new Scope("file", { kind: "file" });
    const vm = await machine.run(() => lab.vm("v", "tiny").boot());
    const scope = new Scope("test with bad closers", { parent: machine });
    let own: unknown;
    await scope.run(async () => {
      pid = (await vm.runAsync("sleep", { args: ["600"] })).pid;
      scope.defer(() => {
        throw new Error("this closer throws");
      });
      scope.defer(() => new Promise(() => {}), { name: "hanging", limitMs: 300 });
      const proc = await vm.runAsync("trap '' TERM; echo up; while :; do sleep 1; done");
      await proc.stdout.expect("up", 30);
      stubborn = proc.pid;
      throw new Error("the test's own");
    }).catch((error) => own = error);
    const report = await scope.close();
    assertEquals((own as Error).message, "the test's own");
    assertEquals(report.failures.map(({ name }) => name), ["hanging", "deferred function"]);
    assert(report.error instanceof ScopeError);
    assertEquals(report.error.errors.length, 2);
    await t.step("the report names each with its line", () => {
      assertStringIncludes(report.error!.message, "2 of 4 resources failed");
      assertStringIncludes(report.error!.message, "this closer throws");
      assertStringIncludes(report.error!.message, "lab_scopes_test.ts:");
    });
    await t.step("all processes are gone", async () => {
      assertEquals(await leftOvers(vm, [pid, stubborn]), []);
    });
    await machine[Symbol.asyncDispose]();
  },
);

labTest(
  "12: what is created in helpers, steps, hooks and detached promises belongs to the right scope",
  async () => {
    await inScope("file", async (file) => {
      const vm = await lab.vm("v", "tiny").boot();
      const deep = () => helper();
      const helper = () => deeper();
      const deeper = async () => (await vm.runAsync("sleep", { args: ["611"] })).pid;
      let inTest = 0;
      let inStep = 0;
      let inHook = 0;
      let detached: Promise<number> | undefined;
      const test = new Scope("test", { parent: file });
      await test.run(async () => {
        inHook = await vm.runAsync("sleep", { args: ["612"] }).then(({ pid }) => pid);
        inTest = await deep();
        const report = await inScope("step", async () => {
          inStep = await deep();
          detached = (async () => {
            await Promise.resolve();
            return await deep();
          })();
          await detached;
        }, test);
        assertEquals(report.closed.length, 2);
        assertEquals(await leftOvers(vm, [inStep, await detached!]), []);
        assertEquals(await leftOvers(vm, [inTest, inHook]), [inTest, inHook]);
      });
      await test.close();
      assertEquals(await leftOvers(vm, [inTest, inHook]), []);
    });
  },
);

labTest(
  "12: what opens after its scope began to close is closed at once, with a ScopeError",
  async () => {
    await inScope("file", async (file) => {
      const vm = await lab.vm("v", "tiny").boot();
      const scope = new Scope("test", { parent: file });
      const gate = Promise.withResolvers<void>();
      let late!: Promise<unknown>;
      scope.run(() => {
        late = gate.promise.then(() => vm.openFile("/tmp/late", { write: true, create: true }));
        late.catch(() => {});
      });
      await scope.close();
      gate.resolve();
      await assertRejects(() => late, ScopeError, 'test "test" has ended');
    });
  },
);

labTest(
  "machines belong to the scope that called lab.vm(), and their names are seen below it",
  async () => {
    await inScope("file", async (file) => {
      const shared = lab.vm("shared", "tiny");
      await inScope("test", async () => {
        assertEquals(lab.vm("shared"), shared);
        await assertRejects(
          () => Promise.resolve().then(() => lab.vm("shared", "tiny")),
          TypeError,
          "is there already",
        );
        lab.vm("own", "tiny");
        assertEquals(lab.members().map(({ name }) => name), ["shared", "own"]);
        await shared.boot();
      }, file);
      assertEquals(shared.state, "booted");
      assertEquals(lab.members().map(({ name }) => name), ["shared"]);
      await assertRejects(
        () => Promise.resolve().then(() => lab.vm("own")),
        TypeError,
        'There is no machine "own"',
      );
      await assertRejects(
        () => Promise.resolve().then(() => lab.vm("shard")),
        TypeError,
        'did you mean "shared"',
      );
      // A sibling may use the name again.
      await inScope("next test", () => Promise.resolve(void lab.vm("own", "tiny")), file);
    });
    assertEquals(lab.members(), []);
  },
);
