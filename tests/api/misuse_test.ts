/** Every option of the public API is refused by name when it is mistyped or has the wrong type. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { closeCurrentRun } from "../../src/host/mod.ts";
import { setLabProviders } from "../../src/lab/mod.ts";
import * as belljar from "../../src/mod.ts";
import { Scope } from "../../src/scope/mod.ts";
import { OPTION_TABLES, type OptionKind } from "../../src/values/mod.ts";
import { vmmFor } from "../../src/vmm/mod.ts";

const { lab, jobs } = belljar;

// deno-lint-ignore no-explicit-any -- the point is to pass what the types forbid
type Wrong = any;

/** What the calls are made on: a real agent on this host, one object of each kind. */
interface Subjects {
  vm: belljar.Vm;
  idle: belljar.Vm;
  worker: belljar.Worker;
  proc: belljar.Process;
  file: belljar.File;
  stream: belljar.Stream;
  call: belljar.PendingSyscall;
  job: belljar.Job;
  output: belljar.OutputBuffer;
  table: belljar.JobTable;
  server: belljar.Service;
}

const SERVICE: belljar.ServiceSpec = { name: "misused", command: ["sleep", "600"] };

/** How each call is made with given options. A table of options without a row here fails the test. */
const CALLS: Record<string, (subjects: Subjects, options: Wrong) => unknown> = {
  "lab.claim()": (_, o) => lab.claim(o),
  "lab.vm()": (_, o) => lab.vm(`never${Math.random()}`, "tiny", o),
  "lab.barrier()": (_, o) => lab.barrier("b", 2, 0.01, o),
  "vm.boot()": ({ idle }, o) => idle.boot(o),
  "vm.shutdown()": ({ idle }, o) => idle.shutdown(o),
  "vm.reset()": ({ vm }, o) => vm.reset(o),
  "vm.forward()": ({ vm }, o) => vm.forward({ guest: 1, ...o }),
  "vm.background()": ({ vm }, o) => vm.background(["true"], o),
  "vm.counters()": ({ vm }, o) => (vm as Wrong).counters(o),
  "vm.snapshot()": ({ vm }, o) => vm.snapshot(o),
  "vm.restore()": ({ vm }, o) => vm.restore(undefined as Wrong, o),
  "lab.fixture()": (_, o) => lab.fixture("/never/there.fixture.ts", o),
  "defineFixture()": (_, o) => belljar.defineFixture(() => undefined as Wrong, o),
  "vm.clock.get()": ({ vm }, o) => vm.clock.get(o),
  "vm.clock.set()": ({ vm }, o) => vm.clock.set(1, o),
  "console.stream()": ({ vm }, o) => vm.console.stream(o),
  "stream.expect()": ({ stream }, o) => stream.expect("x", 0.01, o),
  "stream.next()": ({ stream }, o) => stream.next(0.01, o),
  "stream.drain()": ({ stream }, o) => stream.drain(0.01, o),
  "vm.watch()": ({ vm }, o) => vm.watch("/tmp", o),
  "vm.tail()": ({ vm }, o) => vm.tail("/etc/passwd", o),
  "vm.openFile()": ({ vm }, o) => vm.openFile("/etc/passwd", o),
  "file.read()": ({ file }, o) => file.read(1, o),
  "vm.readFile()": ({ vm }, o) => vm.readFile("/etc/passwd", o),
  "vm.readTextFile()": ({ vm }, o) => vm.readTextFile("/etc/passwd", o),
  "vm.writeFile()": ({ vm }, o) => vm.writeFile("/never/written", "x", o),
  "vm.mkdir()": ({ vm }, o) => vm.mkdir("/proc/never", o),
  "vm.remove()": ({ vm }, o) => vm.remove("/never/there", o),
  "vm.stat()": ({ vm }, o) => vm.stat("/", o),
  "vm.lstat()": ({ vm }, o) => vm.lstat("/", o),
  "vm.exists()": ({ vm }, o) => vm.exists("/", o),
  "vm.readDir()": ({ vm }, o) => vm.readDir("/proc/self", o),
  "vm.glob()": ({ vm }, o) => vm.glob("/never/*", o),
  "vm.rename()": ({ vm }, o) => vm.rename("/never/a", "/never/b", o),
  "vm.symlink()": ({ vm }, o) => vm.symlink("a", "/never/b", o),
  "vm.readLink()": ({ vm }, o) => vm.readLink("/proc/self", o),
  "vm.realPath()": ({ vm }, o) => vm.realPath("/", o),
  "vm.link()": ({ vm }, o) => vm.link("/never/a", "/never/b", o),
  "vm.chmod()": ({ vm }, o) => vm.chmod("/never/a", 0o600, o),
  "vm.chown()": ({ vm }, o) => vm.chown("/never/a", 0, 0, o),
  "vm.truncate()": ({ vm }, o) => vm.truncate("/never/a", 0, o),
  "vm.utime()": ({ vm }, o) => vm.utime("/never/a", new Date(0), new Date(0), o),
  "vm.mknod()": ({ vm }, o) => (vm as Wrong).mknod("/never/a", 0o600, 0, o),
  "vm.statfs()": ({ vm }, o) => vm.statfs("/", o),
  "vm.getXattr()": ({ vm }, o) => vm.getXattr("/", "user.x", o),
  "vm.setXattr()": ({ vm }, o) => vm.setXattr("/never/a", "user.x", "y", o),
  "vm.listXattr()": ({ vm }, o) => vm.listXattr("/", o),
  "vm.removeXattr()": ({ vm }, o) => vm.removeXattr("/never/a", "user.x", o),
  "vm.syscall()": ({ vm }, o) => vm.syscall("getpid", { args: [], ...o }),
  "call.wait()": ({ call }, o) => call.wait(0.01, o),
  "vm.readMem()": ({ vm }, o) => vm.readMem(0n, 1, o),
  "vm.ioctl()": ({ vm }, o) => vm.ioctl(0, 0x5413, 8, o),
  "vm.processes()": ({ vm }, o) => vm.processes(o),
  "proc.resize()": ({ proc }, o) => proc.resize(o),
  "proc.kill()": ({ proc }, o) => proc.kill("SIGURG", o),
  "vm.run()": ({ vm }, o) => vm.run("true", o),
  "vm.runAsync()": ({ vm }, o) => vm.runAsync("true", o),
  "vm.jobWait()": ({ vm, job }, o) => vm.jobWait(job, 0, o),
  "vm.copyIn()": ({ vm }, o) => vm.copyIn("/never/a", "/never/b", o),
  "vm.copyOut()": ({ vm }, o) => vm.copyOut("/never/a", "/never/b", o),
  "vm.spawnWorker()": ({ vm }, o) => vm.spawnWorker(o),
  "background()": (_, o) => belljar.background(["true"], o),
  "buffer of background()": (_, o) => belljar.background(["true"], { buffer: o }),
  "waitUntil()": (_, o) => belljar.waitUntil(() => true, o),
  "jobs.list()": (_, o) => jobs.list(o),
  "jobs.wait()": ({ job }, o) => jobs.wait(job.id, { timeout: 0, ...o }),
  "jobs.completions()": (_, o) => jobs.completions(o),
  "jobs.spawn()": ({ table }, o) => table.spawn("task", () => Promise.resolve(0), o),
  "jobs.remove()": ({ table }, o) => table.remove(999, o),
  "jobs.cleanup()": ({ table }, o) => table.cleanup(o),
  "jobs.shutdown()": (_, o) => belljar.createJobTable({ persistOutputFiles: false }).shutdown(o),
  "createJobTable()": (_, o) => belljar.createJobTable(o),
  "job.wait()": ({ job }, o) => job.wait(0, o),
  "job.signal()": ({ job }, o) => job.signal("SIGURG", o),
  "new OutputBuffer()": (_, o) => new belljar.OutputBuffer(o),
  "output.text()": ({ output }, o) => output.text(o),
  "output.changedSince()": ({ output }, o) => output.changedSince(0, o),
  "output.stream()": ({ output }, o) => output.stream(o),
  "output.lines()": ({ output }, o) => output.lines(o),
  "output.waitFor()": ({ output }, o) => output.waitFor("x", { timeout: 0.01, ...o }),
  "probe.file()": (_, o) => belljar.probe.file("/x", o),
  "probe.command()": (_, o) => belljar.probe.command("true", o),
  "probe.log()": (_, o) => belljar.probe.log("x", o),
  "probe.http()": (_, o) => belljar.probe.http({ port: 1, ...o }),
  "probe.tcp()": (_, o) => belljar.probe.tcp({ port: 1, ...o }),
  "probe.unix()": (_, o) => belljar.probe.unix("/x", o),
  "probe.notify()": (_, o) => belljar.probe.notify(o),
  "probe.fn()": (_, o) => belljar.probe.fn("x", () => true, o),
  "service()": (_, o) => belljar.service({ ...SERVICE, ...o }),
  "service.stop()": ({ server }, o) => server.stop(o),
  "logs of service()": (_, o) => belljar.service({ ...SERVICE, logs: o }),
  "onExit of service()": (_, o) =>
    belljar.service({ ...SERVICE, onExit: { restart: "always", ...o } }),
  "ports of service()": (_, o) => belljar.service({ ...SERVICE, ports: { a: { guest: 1, ...o } } }),
  "services()": (_, o) => belljar.services([SERVICE], o),
  "runWithServices()": (_, o) => belljar.runWithServices([SERVICE], "true", o),
  "reservePort()": (_, o) => belljar.reservePort(o),
  "clearPort()": (_, o) => belljar.clearPort(1, o),
  "waitForPortFree()": (_, o) => belljar.waitForPortFree(1, o),
  "defineFile()": (_, o) => belljar.defineFile(o),
  "defineConfig()": (_, o) => belljar.defineConfig(o),
};

/** A value of a type that no option of this kind takes. */
function wrongValue(kind: OptionKind): unknown {
  if (typeof kind === "function" || typeof kind !== "string") return { nonsense: true };
  const values: Partial<Record<string, unknown>> = {
    function: 3,
    object: 3,
    array: "x",
    strings: "x",
  };
  return values[kind] ?? Symbol("wrong");
}

/** A malformed value of the right type, where there is such a thing. */
function malformed(kind: OptionKind): unknown {
  const values: Partial<Record<string, unknown>> = {
    duration: "10",
    durationOrInfinity: "5x",
    size: "64 M",
    signal: "SIGNOPE",
    number: NaN,
    integer: 1.5,
  };
  return typeof kind === "string" ? values[kind] : undefined;
}

async function refusal(call: () => unknown): Promise<Error | undefined> {
  try {
    const result = await call() as Partial<AsyncIterable<unknown>> | undefined;
    // A lazy iterable checks its options when it is read.
    if (result?.[Symbol.asyncIterator] && typeof (result as Wrong).next === "function") {
      await (result as Wrong).next();
    }
  } catch (error) {
    return error as Error;
  }
  return undefined;
}

async function makeSubjects(): Promise<Subjects> {
  const vm = await lab.vm("misused", "tiny").boot();
  const proc = await vm.runAsync("sleep 600");
  const call = vm.syscallAsync("pause");
  await call.state();
  return {
    vm,
    idle: lab.vm("idle", "tiny"),
    worker: await vm.spawnWorker(),
    proc,
    file: await vm.openFile("/etc/passwd"),
    stream: proc.stdout as Wrong,
    call,
    job: proc.job,
    output: new belljar.OutputBuffer(),
    table: belljar.createJobTable({ persistOutputFiles: false }),
    server: await belljar.service({ name: "server", command: ["sleep", "600"] }),
  };
}

Deno.test({
  name:
    "every option of the public API is refused by name when mistyped, of a wrong type or malformed",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    const restore = setLabProviders({ vmm: () => vmmFor({ vmm: "local" }) });
    const scope = new Scope("misuse");
    try {
      await scope.run(async () => {
        const subjects = await makeSubjects();
        await t.step("each table of options has a row that makes its call", () => {
          assertEquals([...OPTION_TABLES.keys()].filter((name) => !Object.hasOwn(CALLS, name)), []);
        });
        for (const [name, table] of OPTION_TABLES) {
          if (!Object.hasOwn(CALLS, name)) continue;
          await t.step(name, () => checkCall(name, table, subjects));
        }
      });
    } finally {
      const { error } = await scope.close();
      await closeCurrentRun();
      restore();
      assertEquals(error, undefined);
    }
  },
});

async function checkCall(
  name: string,
  table: Record<string, OptionKind>,
  subjects: Subjects,
): Promise<void> {
  const make = (options: Wrong) => refusal(() => CALLS[name]!(subjects, options));
  const problems: string[] = [];
  const expect = (what: string, error: Error | undefined, ...texts: string[]) => {
    const isUse = error instanceof TypeError || error instanceof RangeError;
    const missing = texts.filter((text) => !error?.message.includes(text));
    if (!isUse || missing.length > 0) problems.push(`${what}: ${error ?? "was accepted"}`);
  };
  for (const [key, kind] of Object.entries(table)) {
    expect(`${key}Zq`, await make({ [`${key}Zq`]: 1 }), `"${key}Zq"`, "Unknown");
    if (kind === "any") continue;
    expect(
      `${key} of a wrong type`,
      await make({ [key]: wrongValue(kind) }),
      key.replace(/s$/, ""),
    );
    const bad = malformed(kind);
    if (bad !== undefined) {
      expect(`${key}: ${String(bad)}`, await make({ [key]: bad }), String(bad));
    }
  }
  assertEquals(problems, []);
}

Deno.test("a mistyped option tells the one that was meant", async () => {
  const error = await refusal(() => belljar.waitUntil(() => true, { timout: 1 } as Wrong));
  assert(error instanceof TypeError);
  assertStringIncludes(
    error.message,
    'Unknown option "timout" for waitUntil(): did you mean "timeout"?',
  );
});
