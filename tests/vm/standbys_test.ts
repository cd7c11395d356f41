import { assert, assertEquals } from "@std/assert";
import { closeCurrentRun, pause, processes } from "../../src/host/mod.ts";
import { lab, setStandbys, Standbys, type StandbysOptions, type Vm } from "../../src/lab/mod.ts";
import { ofKind, type Project } from "../runner/_belljar.ts";
import { makeProject } from "../runner/_belljar.ts";
import { readEvents } from "../../src/runner/event_file.ts";
import { SHARED } from "./_fixtures.ts";
import { inScope, labTest } from "./_lab.ts";
import { LIMIT_MS } from "./_vmm.ts";

Deno.test.afterAll(closeCurrentRun);

let machines = 0;

function bootOne(image = "tiny", memory = "128M"): Promise<Vm> {
  return lab.vm(`m${++machines}`, image, { memory }).boot();
}

/** Boots a machine in a test of its own, which says whether it had stood by. */
async function test(memory?: string): Promise<boolean> {
  let stoodBy = false;
  await inScope("a test", async () => {
    const vm = await bootOne("tiny", memory);
    stoodBy = vm.info.timings.aheadMs !== undefined;
    assertEquals((await vm.run("hostname")).stdout, `m${machines}\n`);
  });
  return stoodBy;
}

/** What prepares machines, on a host with processors to spare. */
function prepared(
  options: Partial<StandbysOptions> = {},
): { standbys: Standbys; held: () => number } & AsyncDisposable {
  let held = 0;
  const standbys = new Standbys({
    reserve: () => {
      held++;
      let isHeld = true;
      return Promise.resolve({
        release: () => {
          if (isHeld) held--;
          isHeld = false;
        },
      });
    },
    testsAhead: () => 9,
    most: 1,
    room: { measure: () => Promise.resolve(2) },
    ...options,
  });
  const putBack = setStandbys(standbys);
  return {
    standbys,
    held: () => held,
    async [Symbol.asyncDispose]() {
      putBack();
      await standbys[Symbol.asyncDispose]();
      assertEquals([standbys.count, held], [0, 0]);
    },
  };
}

labTest(
  "a machine stands by for the next test, once one of its kind was booted after another",
  async () => {
    await using own = prepared();
    assertEquals([await test(), own.standbys.count], [false, 0]);
    assertEquals([await test(), own.standbys.count], [false, 1]);
    for (let i = 0; i < 3; i++) assertEquals([await test(), own.standbys.count], [true, 1]);
    assertEquals(own.held(), 1);
  },
);

labTest("machines that run beside each other are no reason to prepare one", async () => {
  await using own = prepared();
  await inScope("a lab", async () => {
    await Promise.all([bootOne(), bootOne(), bootOne()]);
    assertEquals(own.standbys.count, 0);
  });
});

labTest("nothing is prepared without need, memory or processors", async ({ t }) => {
  const rows: [string, Partial<StandbysOptions>][] = [
    ["no test is to come", { testsAhead: () => 0 }],
    ["the pool has nothing to spare", { reserve: () => Promise.resolve(undefined) }],
    ["the processors are busy", { room: { measure: () => Promise.resolve(0.4) } }],
  ];
  for (const [name, options] of rows) {
    await t.step(name, async () => {
      await using own = prepared(options);
      for (let i = 0; i < 3; i++) assertEquals(await test(), false);
      assertEquals(own.standbys.count, 0);
    });
  }
});

labTest(
  "what stands by is given up when its memory is needed, and for another kind",
  async ({ t }) => {
    await t.step("memory", async () => {
      const reclaims: (() => void)[] = [];
      let released = 0;
      await using own = prepared({
        reserve: (_request, reclaim) => {
          reclaims.push(reclaim);
          return Promise.resolve({ release: () => void released++ });
        },
      });
      for (let i = 0; i < 2; i++) await test();
      assertEquals([own.standbys.count, released], [1, 0]);
      reclaims[0]!();
      assertEquals(own.standbys.count, 0);
      while (released === 0) await pause(10);
      assertEquals(await test(), false);
    });
    await t.step("another kind", async () => {
      await using own = prepared();
      for (let i = 0; i < 3; i++) await test("128M");
      for (let i = 0; i < 2; i++) {
        assertEquals([await test("192M"), own.standbys.count], [false, 1]);
      }
      assertEquals(await test("192M"), true);
      assertEquals(await test("128M"), false);
    });
  },
);

labTest("machines stand by for a state too, as it was when it was saved", async () => {
  await using own = prepared();
  const vm = await bootOne();
  await vm.run("(while :; do echo >> /tmp/ticks; sleep 0.1; done) > /dev/null 2>&1 &", {
    keep: true,
  });
  await vm.writeFile("/tmp/state", "saved");
  const snapshot = await vm.snapshot();
  const ticks = async () => (await vm.readFile("/tmp/ticks")).length;
  const seen: boolean[] = [];
  for (let i = 0; i < 4; i++) {
    await vm.writeFile("/tmp/state", `of round ${i}`);
    await vm.restore(snapshot);
    seen.push(vm.info.timings.aheadMs !== undefined);
    assertEquals(await vm.readTextFile("/tmp/state"), "saved");
    assertEquals((await vm.run("hostname")).stdout, `${vm.name}\n`);
    // What runs in it goes on from where it was, and has not gone on before.
    const before = await ticks();
    await vm.waitUntil(async () => await ticks() > before, { interval: 0.05 });
  }
  assertEquals(seen, [false, false, true, true]);
  assertEquals(own.standbys.count, 1);
  await snapshot.delete();
  assertEquals(own.standbys.count, 0);
});

labTest("two stand by where one at a time comes too late", async () => {
  await using own = prepared({ most: 2 });
  for (let i = 0; i < 12 && own.standbys.count < 2; i++) await test();
  assertEquals(own.standbys.count, 2);
});

labTest("closing ends what is being prepared", async () => {
  await using own = prepared();
  for (let i = 0; i < 2; i++) await test();
  assertEquals(own.standbys.count, 1); // hardly begun
});

/** A file whose tests each boot a machine, and leave its processors time to prepare another. */
const FILE = `import { lab, test } from "belljar";
for (const name of ["a", "b", "c", "d", "e"]) {
  test(name, async (t) => {
    const vm = await lab.vm(name, "tiny", { memory: "128M" }).boot();
    t.assertEquals((await vm.run("hostname; sleep 1")).stdout, name + "\\n");
  });
}
`;

/** Whatever else this host does. */
const ALWAYS = { ...SHARED, BELLJAR_STANDBY: "always" };

/** Which of the machines had stood by, by name. */
function stoodBy(events: Parameters<typeof ofKind>[0]): string[] {
  return ofKind(events, "vm_started")
    .filter(({ timings }) => (timings as { aheadMs?: number }).aheadMs !== undefined)
    .map(({ vm }) => String(vm));
}

Deno.test("files prepare machines under belljar run and under deno test, if they shall", async (t) => {
  await using project = await makeProject({ "a.test.ts": FILE });
  const events = project.path("events.jsonl");
  const ways: [string, (env: Record<string, string>) => ReturnType<Project["belljar"]>][] = [
    ["belljar run", (env) => project.belljar(["run", "--events", events], env)],
    ["deno test", (env) => project.denoTest(["a.test.ts"], { ...env, BELLJAR_EVENTS: events })],
  ];
  for (const [name, run] of ways) {
    // Left to itself it depends on what else this host does.
    for (const choice of ["always", "never"]) {
      await t.step(`${name}, BELLJAR_STANDBY=${choice}`, async () => {
        await Deno.remove(events).catch(() => {}); // the first has none
        const { code, out, err } = await run({ ...SHARED, BELLJAR_STANDBY: choice });
        assertEquals(code, 0, out + err);
        const found = stoodBy(await readEvents(events));
        // Not the first, for which nothing was known, and not the second, which showed what is to come.
        assert(!found.includes("a") && !found.includes("b"), `${found}`);
        assert(choice === "never" ? found.length === 0 : found.length > 0, `${found}`);
      });
    }
  }
});

Deno.test("resetBetweenTests prepares the machine that a test is given back", async () => {
  const source = `import { beforeAll, defineFile, lab, test, type Vm } from "belljar";
defineFile({ resetBetweenTests: true });
let vm: Vm;
beforeAll(async () => {
  vm = await lab.vm("shared", "tiny", { memory: "128M" }).boot();
});
for (const name of ["a", "b", "c", "d", "e", "f"]) {
  test(name, async (t) => {
    t.assert(!await vm.exists("/tmp/left"));
    await vm.run("touch /tmp/left; sleep 1", { check: true });
  });
}
`;
  await using project = await makeProject({ "a.test.ts": source });
  const { code, out, err, events } = await project.run([], ALWAYS);
  assertEquals(code, 0, out + err);
  assert(stoodBy(events).length > 0, out + err);
});

Deno.test("nothing that stood by outlives a file's process that is killed", async () => {
  // The machine of the second test is the first after which another is prepared.
  const source = FILE.replace("sleep 1", "sleep 1; test $(hostname) != b || sleep 300");
  await using project = await makeProject({ "a.test.ts": source });
  const events = project.path("events.jsonl");
  const child = project.start(["run", "--events", events], ALWAYS);
  const output = Promise.all([child.stdout, child.stderr].map((s) => new Response(s).text()));
  const giveUpAt = performance.now() + LIMIT_MS;
  let standby: number[] = [];
  while (standby.length === 0 && performance.now() < giveUpAt) {
    await pause(100);
    standby = await standbysBelow(child.pid);
  }
  assertEquals(standby.length, 1);
  const files = ofKind(await readEvents(events), "file_started");
  Deno.kill(Number(files[0]!.pid), "SIGKILL");
  while (await Deno.stat(`/proc/${standby[0]}`).then(() => true, () => false)) {
    assert(performance.now() < giveUpAt, "the machine that stood by is still there");
    await pause(10);
  }
  child.kill("SIGINT");
  await child.status;
  await output;
});

/** Machines that stand by among the descendants of a process. */
async function standbysBelow(ancestor: number): Promise<number[]> {
  const all = await processes();
  const parents = new Map(all.map(({ pid, ppid }) => [pid, ppid]));
  const isBelow = (pid: number): boolean => {
    const parent = parents.get(pid) ?? 0;
    return parent === ancestor || (parent > 1 && isBelow(parent));
  };
  const machines = all.filter(({ pid, command }) => command.startsWith("qemu") && isBelow(pid));
  const args = await Promise.all(
    machines.map(({ pid }) => Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "")),
  );
  return machines.filter((_, i) => args[i]!.includes("guest=standby")).map(({ pid }) => pid);
}
