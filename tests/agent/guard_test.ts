import { assertEquals, assertRejects } from "@std/assert";
import { sanitizedAgent } from "./_agent.ts";

const SHELL = { stdout: "piped", stderr: "null" } as const;
const LIMIT_MS = 10_000;

/** Waits until the process is gone, or a zombie that nobody has reaped. */
async function gone(pid: number): Promise<void> {
  const until = Date.now() + LIMIT_MS;
  while (Date.now() < until) {
    const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => "");
    if (stat === "" || / [ZX] /.test(stat.slice(stat.lastIndexOf(")")))) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`process ${pid} is still there after ${LIMIT_MS} ms`);
}

async function isAlive(pid: number): Promise<boolean> {
  return await Deno.stat(`/proc/${pid}`).then(() => true, () => false);
}

/** Reads `count` lines of a child's output. */
async function lines(child: Deno.ChildProcess, count: number): Promise<string[]> {
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (text.split("\n").length <= count) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
  }
  await reader.cancel();
  return text.split("\n").slice(0, count);
}

Deno.test("guard --watch becomes its command", async () => {
  const guard = await sanitizedAgent();
  await using child = new Deno.Command(guard, {
    args: ["guard", "--watch", "--", "sh", "-c", "echo $$; readlink /proc/self/fd/0; exit 7"],
    stdin: "piped",
    detached: true,
    ...SHELL,
  }).spawn();
  assertEquals(await lines(child, 2), [`${child.pid}`, "/dev/null"]);
  assertEquals((await child.status).code, 7);
  await child.stdin.close();
});

Deno.test("guard --watch says when there is no such command", async () => {
  const guard = await sanitizedAgent();
  const child = new Deno.Command(guard, {
    args: ["guard", "--watch", "--", "/no/such/command"],
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const { code, stderr } = await child.output();
  await child.stdin.close().catch(() => {}); // nobody reads it any more
  assertEquals(code, 127);
  assertEquals(
    new TextDecoder().decode(stderr),
    "belljar-agent guard: cannot run /no/such/command: No such file or directory\n",
  );
});

Deno.test("guard --watch kills its command and the group when the pipe ends", async () => {
  const guard = await sanitizedAgent();
  const script = "trap '' TERM INT HUP; sleep 600 & echo $!; wait";
  await using child = new Deno.Command(guard, {
    args: ["guard", "--watch", "--", "sh", "-c", script],
    stdin: "piped",
    detached: true,
    ...SHELL,
  }).spawn();
  const [grandchild] = await lines(child, 1);
  await child.stdin.close();
  assertEquals((await child.status).signal, "SIGKILL");
  await gone(Number(grandchild));
});

Deno.test("guard --watch ignores what is written, and outlives signals to the group", async () => {
  const guard = await sanitizedAgent();
  await using child = new Deno.Command(guard, {
    args: ["guard", "--watch", "--", "sh", "-c", "trap '' TERM INT; echo ready; exec sleep 600"],
    stdin: "piped",
    detached: true,
    ...SHELL,
  }).spawn();
  await lines(child, 1);
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode("anything\n".repeat(100)));
  Deno.kill(-child.pid, "SIGINT");
  Deno.kill(-child.pid, "SIGTERM");
  assertEquals(await isAlive(child.pid), true);
  await writer.close();
  assertEquals((await child.status).signal, "SIGKILL");
});

Deno.test("guard --watch kills its command when the harness is killed", async () => {
  const guard = await sanitizedAgent();
  for (let i = 0; i < 20; i++) {
    // A harness that holds the pipe, and is killed at a random moment.
    const code = `
      const child = new Deno.Command(${JSON.stringify(guard)}, {
        args: ["guard", "--watch", "--", "sleep", "600"], stdin: "piped", detached: true,
      }).spawn();
      console.log(child.pid);
      setInterval(() => {}, 1000);
      globalThis.child = child;
    `;
    const harness = new Deno.Command(Deno.execPath(), {
      args: ["eval", code],
      stdin: "null",
      ...SHELL,
    }).spawn();
    const [pid] = await lines(harness, 1);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
    harness.kill("SIGKILL");
    await harness.status;
    await gone(Number(pid));
  }
});

/** A run's folder with its guard. */
async function startRun() {
  const guard = await sanitizedAgent();
  const dir = await Deno.makeTempDir({ prefix: "bj-guard-" });
  const token = crypto.randomUUID();
  const child = new Deno.Command(guard, {
    args: ["guard", "--run", dir, "--token", token],
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
    detached: true,
  }).spawn();
  const writer = child.stdin.getWriter();
  const stderr = new Response(child.stderr).text();
  return {
    dir,
    token,
    child,
    say: (line: string) => writer.write(new TextEncoder().encode(`${line}\n`)),
    sayRaw: (text: string) => writer.write(new TextEncoder().encode(text)),
    hangUp: () => writer.close(),
    async [Symbol.asyncDispose]() {
      await writer.close().catch(() => {});
      const { code } = await child.status;
      assertEquals([code, await stderr], [0, ""]);
      await Deno.remove(dir, { recursive: true }).catch(() => {});
    },
  };
}

/** A program in a group of its own. */
function startGroup(script: string, env: Record<string, string> = {}): Deno.ChildProcess {
  const options = { stdin: "null", stdout: "piped", stderr: "null", detached: true } as const;
  return new Deno.Command("sh", { args: ["-c", script], env, ...options }).spawn();
}

async function startTicks(pid: number): Promise<string> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]!;
}

Deno.test("guard --run ends recorded groups, marked processes and the folder", async () => {
  await using run = await startRun();
  const other = await Deno.makeTempDir({ prefix: "bj-guard-" });
  await Deno.mkdir(`${run.dir}/a/b`, { recursive: true });
  await Deno.writeTextFile(`${run.dir}/a/b/file`, "x");
  await Deno.symlink("/etc", `${run.dir}/a/link`);
  const recorded = startGroup("trap '' TERM; sleep 600 & echo $!; wait; wait");
  const marked = startGroup("setsid sleep 600 & echo $!; exit 0", { BELLJAR_TOKEN: run.token });
  const [inGroup] = await lines(recorded, 1);
  const [escaped] = await lines(marked, 1);
  await marked.status;
  await run.say(`group ${recorded.pid} ${await startTicks(recorded.pid)}`);
  await run.say(`dir ${other}`);
  await run.hangUp();
  assertEquals((await recorded.status).signal, "SIGKILL");
  await gone(Number(inGroup));
  await gone(Number(escaped));
  await run.child.status;
  await assertRejects(() => Deno.stat(run.dir), Deno.errors.NotFound);
  await assertRejects(() => Deno.stat(other), Deno.errors.NotFound);
  assertEquals((await Deno.stat("/etc/passwd")).isFile, true);
});

Deno.test("guard --run ends at once when everything obeys", async () => {
  await using run = await startRun();
  const group = startGroup("echo ready; exec sleep 600");
  await lines(group, 1);
  await run.say(`group ${group.pid} ${await startTicks(group.pid)}`);
  const began = performance.now();
  await run.hangUp();
  assertEquals((await group.status).signal, "SIGTERM");
  await run.child.status;
  assertEquals(performance.now() - began < 2000, true, "the grace is not waited for");
});

Deno.test("guard --run touches nothing after done, and keeps folders after keep", async (t) => {
  for (const [word, isKept, survives] of [["done", true, true], ["keep", true, false]] as const) {
    await t.step(word, async () => {
      await using run = await startRun();
      const group = startGroup("echo ready; exec sleep 600");
      await lines(group, 1);
      await run.say(`group ${group.pid} ${await startTicks(group.pid)}`);
      await run.say(word);
      await run.hangUp();
      await run.child.status;
      assertEquals(await isAlive(group.pid) && survives, survives);
      if (survives) group.kill("SIGKILL");
      await group.status;
      assertEquals(await Deno.stat(run.dir).then(() => true, () => false), isKept);
    });
  }
});

Deno.test("guard --run leaves alone what is not the run's", async (t) => {
  const rows: [string, (pid: number, ticks: string) => string[]][] = [
    [
      "a number that is somebody else's now",
      (pid, ticks) => [`group ${pid} ${BigInt(ticks) + 1n}`],
    ],
    ["a group that was taken back", (pid, ticks) => [`group ${pid} ${ticks}`, `ungroup ${pid}`]],
    ["a line that was cut off", (pid, ticks) => [`\0group ${pid} ${ticks}`]],
    ["a line that is too long", (pid, ticks) => [`${"x".repeat(10_000)}group ${pid} ${ticks}`]],
    ["numbers that are none", () => ["group -1 0", "group 0 0", "group 1 0", "group x y"]],
  ];
  for (const [name, make] of rows) {
    await t.step(name, async () => {
      await using run = await startRun();
      const group = startGroup("echo ready; exec sleep 600", { BELLJAR_TOKEN: "another" });
      await lines(group, 1);
      for (const line of make(group.pid, await startTicks(group.pid))) {
        if (line.startsWith("\0")) await run.sayRaw(line.slice(1));
        else await run.say(line);
      }
      await run.hangUp();
      await run.child.status;
      assertEquals(await isAlive(group.pid), true);
      group.kill("SIGKILL");
      await group.status;
    });
  }
});

Deno.test("guard --run ignores the signals of a terminal", async () => {
  await using run = await startRun();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    run.child.kill(signal);
  }
  await run.say("keep");
  assertEquals(await isAlive(run.child.pid), true);
});
