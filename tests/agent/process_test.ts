import { assert, assertEquals, assertRejects } from "@std/assert";
import { GuestError } from "../../src/errors.ts";
import { procStat } from "../../src/host/mod.ts";
import {
  decodeValue,
  measureValue,
  type OpRequest,
  PROCESS_ENTRY,
  readShape,
  toBytes,
  toText,
} from "../../src/wire/mod.ts";
import { connectAgent, Events, run, spawn } from "./_agent.ts";

const isRoot = Deno.uid() === 0;

Deno.test("spawn gives output, and how the program ended", async (t) => {
  await using agent = await connectAgent();
  const rows: [string, { stdout?: string; stderr?: string; code?: number; sig?: number }][] = [
    ["true", { code: 0 }],
    ["exit 3", { code: 3 }],
    ["echo out; echo err >&2; exit 255", { stdout: "out\n", stderr: "err\n", code: 255 }],
    ["kill -9 $$", { sig: 9 }],
    ["kill -TERM $$", { sig: 15 }],
    ["kill -ABRT $$", { sig: 6 }],
    ["printf '\\0\\377'", { stdout: "\0\ufffd", code: 0 }],
  ];
  for (const [script, expected] of rows) {
    await t.step(script, async () => {
      const result = await run(agent.client, ["sh", "-c", script]);
      const whole = { stdout: "", stderr: "", code: undefined, sig: undefined, alive: 0 };
      assertEquals(result, { ...whole, ...expected });
    });
  }
});

Deno.test("spawn passes arguments, environment and folder unchanged", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const args = ["a b", "", "ü\n", "'\"$X"];
  const { stdout } = await run(client, ["printf", "<%s>", ...args]);
  assertEquals(stdout, args.map((arg) => `<${arg}>`).join(""));
  const env = await run(client, ["env"], {
    env: [toBytes("A=1"), toBytes("A=2"), toBytes("PATH=/bin:/usr/bin"), toBytes("novalue")],
    clearEnv: true,
    cwd: toBytes("/usr"),
  });
  const lines = env.stdout.trimEnd().split("\n").sort();
  assertEquals(lines.map((line) => line.split("=")[0]), ["A", "BELLJAR_JOB", "PATH"]);
  assertEquals(lines[0], "A=2");
  const { stdout: pwd } = await run(client, ["pwd"], { cwd: toBytes("/usr") });
  assertEquals(pwd, "/usr\n");
});

Deno.test("spawn starts its child with nothing of the agent's", async () => {
  await using agent = await connectAgent();
  const { stdout } = await run(agent.client, [
    "sh",
    "-c",
    "grep -E 'SigBlk|SigIgn' /proc/self/status; ls /proc/self/fd | wc -l; readlink /proc/self/fd/0;" +
    "cut -d ' ' -f 1,5,6 /proc/$$/stat; echo $$", // pid, process group, session: proc(5)
  ]);
  const lines = stdout.trim().split("\n");
  assertEquals(lines.slice(0, 2).map((line) => line.split(":\t")[1]), [
    "0000000000000000",
    "0000000000000000",
  ]);
  assertEquals(lines.slice(2, 4), ["4", "/dev/null"]); // the fourth is the one that `ls` reads by
  const pid = lines[5];
  assertEquals(lines[4]?.trim(), `${pid} ${pid} ${pid}`);
});

Deno.test("spawn names the step that failed", async (t) => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  await Deno.writeTextFile(`${dir}/plain`, "x", { mode: 0o644 });
  await Deno.writeTextFile(`${dir}/script`, "#!/no/such/interpreter\n", { mode: 0o755 });
  const rows: [string, string[], Partial<OpRequest<"spawn">>, string, string][] = [
    ["no such program", ["no-such-program"], {}, "SPAWN_EXEC", "ENOENT"],
    ["no such path", ["/no/such/program"], {}, "SPAWN_EXEC", "ENOENT"],
    ["an empty name", [""], {}, "SPAWN_EXEC", "ENOENT"],
    ["not executable", [`${dir}/plain`], {}, "SPAWN_EXEC", "EACCES"],
    ["a folder", [dir], {}, "SPAWN_EXEC", "EACCES"],
    ["no interpreter", [`${dir}/script`], {}, "SPAWN_EXEC", "ENOENT"],
    ["no such folder", ["true"], { cwd: toBytes("/no/such") }, "SPAWN_CWD", "ENOENT"],
    ["a file as folder", ["true"], { cwd: toBytes("/etc/passwd") }, "SPAWN_CWD", "ENOTDIR"],
    ["no such user", ["true"], { user: "nobody-has-this-name" }, "SPAWN_USER", "ENOENT"],
    ["a bad limit", ["true"], { limits: [[60n, 1n]] }, "SPAWN_LIMITS", "EINVAL"],
  ];
  for (const [name, argv, options, code, errno] of rows) {
    await t.step(name, async () => {
      const error = await assertRejects(() => spawn(client, argv, options), GuestError);
      assertEquals([error.code, error.errno], [code, errno]);
    });
  }
  await t.step("no arguments", async () => {
    const error = await assertRejects(() => spawn(client, []), GuestError);
    assertEquals(error.code, "FORMAT");
  });
  await t.step("nothing is left", async () => {
    const { procs, streams, zombies } = await client.request("counters", {});
    assertEquals([procs, streams, zombies], [0, 0, 0]);
  });
});

Deno.test({
  name: "spawn runs a program as another user",
  ignore: !isRoot,
  async fn(t) {
    await using agent = await connectAgent();
    for (const user of ["nobody", "65534"]) {
      await t.step(user, async () => {
        const { stdout } = await run(agent.client, ["sh", "-c", "id -u; id -G; echo $HOME"], {
          user,
        });
        const passwd = await Deno.readTextFile("/etc/passwd");
        const home = passwd.split("\n").find((line) => line.startsWith("nobody:"))!.split(":")[5];
        assertEquals(stdout, `65534\n65534\n${home}\n`);
      });
    }
    const { stdout } = await run(agent.client, ["id", "-u"], { user: "4242" });
    assertEquals(stdout, "4242\n");
  },
});

Deno.test("spawn sets limits", async () => {
  await using agent = await connectAgent();
  const { stdout } = await run(agent.client, ["sh", "-c", "ulimit -n; ulimit -Hn"], {
    limits: [[7n, 64n]],
  });
  assertEquals(stdout, "64\n64\n");
});

Deno.test("stdin is written as the program reads it, and ended", async () => {
  await using agent = await connectAgent();
  const proc = await spawn(agent.client, ["cat"], { input: true });
  const data = crypto.getRandomValues(new Uint8Array(60_000));
  const writing = (async () => {
    for (let i = 0; i < 20; i++) await proc.stdin!.write(data);
    proc.stdin!.end();
  })();
  const output = await proc.stdout.collect();
  await writing;
  assertEquals(output.length, 20 * data.length);
  assertEquals(output.subarray(19 * data.length), data);
  assertEquals((await proc.events.next("exit")).code, 0);
});

Deno.test("a program that closes its stdin ends the stream to it", async () => {
  await using agent = await connectAgent();
  const proc = await spawn(agent.client, ["sh", "-c", "exec <&-; sleep 5"], { input: true });
  const errno = await proc.stdin!.ended;
  assertEquals(errno, 32);
  await agent.client.request("procSignal", { proc: proc.id, sig: 9, target: 2 });
  await proc.events.next("empty");
});

Deno.test("both outputs in one stream keep their order", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const proc = client.newId();
  const events = new Events(client, proc);
  const both = client.openStream("in");
  await client.request("spawn", {
    proc,
    argv: ["sh", "-c", "for i in 1 2 3; do echo o$i; echo e$i >&2; done"].map(toBytes),
    stdout: both.id,
    stderr: both.id,
  });
  assertEquals(toText(await both.collect()), "o1\ne1\no2\ne2\no3\ne3\n");
  await events.next("exit");
});

Deno.test("a terminal has the size asked for, echoes, and can be resized", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const script = "stty size; read line; echo got $line; read line; stty size";
  const proc = await spawn(client, ["sh", "-c", script], { pty: [100, 30], input: true });
  let text = "";
  let wake = () => {};
  proc.stdout.receive((chunk) => {
    text += toText(chunk).replaceAll("\r", "");
    wake();
  });
  const shows = async (part: string) => {
    while (!text.includes(part)) await new Promise<void>((resolve) => wake = resolve);
  };
  await shows("30 100\n");
  await proc.stdin!.write(toBytes("hello\n"));
  await shows("hello\ngot hello\n");
  await client.request("procResize", { proc: proc.id, cols: 42, rows: 7 });
  await proc.stdin!.write(toBytes("\n"));
  await shows("7 42\n");
  assertEquals((await proc.events.next("exit")).code, 0);
});

Deno.test("the end of a terminal's input is control-D", async () => {
  await using agent = await connectAgent();
  const proc = await spawn(agent.client, ["cat"], { pty: [80, 24], input: true });
  await proc.stdin!.write(toBytes("line\n"));
  proc.stdin!.end();
  assertEquals((await proc.events.next("exit")).code, 0);
});

Deno.test("stop and continue are told", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const { id, events } = await spawn(client, ["sleep", "60"]);
  await client.request("procSignal", { proc: id, sig: 19, target: 0 });
  assertEquals((await events.next("stopped")).sig, 19);
  assertEquals((await client.request("procStatus", { proc: id })).stopped, true);
  await client.request("procSignal", { proc: id, sig: 18, target: 0 });
  await events.next("continued");
  const { running, stopped, alive } = await client.request("procStatus", { proc: id });
  assertEquals([running, stopped, alive], [true, false, 1]);
  await client.request("procSignal", { proc: id, sig: 15, target: 0 });
  assertEquals((await events.next("exit")).sig, 15);
  await events.next("empty");
  assertEquals(events.names(), ["stopped", "continued", "exit", "empty"]);
});

Deno.test("signals reach the leader, its group, or every descendant", async (t) => {
  // The second child leaves the group and the session; the third does so through a double fork.
  const script = "sleep 60 & setsid sleep 61 & (setsid sh -c 'sleep 62 & sleep 63' &) & wait; wait";
  for (const [target, expected] of [[0, 4], [1, 3], [2, 0]] as const) {
    await t.step(`target ${target} leaves ${expected}`, async () => {
      await using agent = await connectAgent();
      const { client } = agent;
      const { id, events } = await spawn(client, ["sh", "-c", script]);
      const members = async () => (await client.request("procMembers", { proc: id })).members;
      while ((await members()).filter((one) => toText(one.command).startsWith("sleep")).length < 4);
      await client.request("procSignal", { proc: id, sig: 9, target });
      await events.next("exit");
      while (
        target === 1 && (await members()).some((one) => one.pgid !== one.pid && one.pgid === id)
      );
      if (expected === 0) await events.next("empty");
      const left = (await members()).filter((one) => toText(one.command).startsWith("sleep"));
      assertEquals(left.length, expected);
      await client.request("procSignal", { proc: id, sig: 9, target: 2 });
      await events.next("empty");
      assertEquals((await client.request("procStatus", { proc: id })).alive, 0);
    });
  }
});

Deno.test("survivors are counted at the exit, and empty follows the last one", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const proc = await spawn(client, ["sh", "-c", "setsid sleep 60 & exit 5"]);
  const exit = await proc.events.next("exit");
  assertEquals([exit.code, exit.alive], [5, 1]);
  assertEquals(proc.events.names(), ["exit"]);
  assert(proc.stdout.isOpen, "the survivor holds the pipe");
  const { members } = await client.request("procMembers", { proc: proc.id });
  assertEquals([members.length, members[0]?.pid === proc.pid], [1, false]);
  assertEquals(await client.request("procSignal", { proc: proc.id, sig: 15, target: 2 }), {
    count: 1,
  });
  await proc.events.next("empty");
  await proc.stdout.ended;
});

Deno.test("a released process' survivors go on, and keep their pipe", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const script = "(for i in $(seq 200); do echo line; sleep 0.01; done; touch done) & exit 0";
  const proc = await spawn(client, ["sh", "-c", script], { cwd: toBytes(dir) });
  await proc.events.next("exit");
  await client.request("procRelease", { proc: proc.id });
  using watcher = Deno.watchFs(dir);
  for await (const event of watcher) {
    if (event.paths.some((path) => path.endsWith("/done"))) break;
  }
  const error = await assertRejects(
    () => client.request("procStatus", { proc: proc.id }),
    GuestError,
  );
  assertEquals(error.code, "NOSUCHID");
});

Deno.test("a running process cannot be released", async () => {
  await using agent = await connectAgent();
  const { id } = await spawn(agent.client, ["sleep", "60"]);
  const error = await assertRejects(
    () => agent.client.request("procRelease", { proc: id }),
    GuestError,
  );
  assertEquals(error.errno, "EBUSY");
});

Deno.test("500 double forks leave no zombie, process or descriptor", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  await run(client, ["true"]);
  const before = await client.request("counters", {});
  for (let i = 0; i < 25; i++) {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const proc = await spawn(client, ["sh", "-c", "(sh -c 'exit 1' &); (true &)"]);
        await proc.events.next("empty");
        await Promise.all([proc.stdout.ended, proc.stderr.ended]);
        await client.request("procRelease", { proc: proc.id });
      }),
    );
  }
  const after = await client.request("counters", {});
  assertEquals([after.zombies, after.procs, after.streams], [0, 0, 0]);
  assertEquals(after.fds, before.fds);
});

Deno.test("processes tells of all that run", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const proc = await spawn(client, ["cat", "-u", "-"], { input: true });
  // Once it echoes, it has its own command line: its number is known a little earlier.
  const echoed = Promise.withResolvers<void>();
  proc.stdout.receive(() => echoed.resolve());
  await proc.stdin!.write(toBytes("x"));
  await echoed.promise;
  // And soon it sleeps, where it waits for more.
  while ((await procStat(proc.pid))?.state !== "S");
  const stream = client.openStream("in");
  const [{ count }, bytes] = await Promise.all([
    client.request("processes", { stream: stream.id }),
    stream.collect(),
  ]);
  const entries = [];
  for (let at = 0; at < bytes.length;) {
    const end = measureValue(bytes, at);
    entries.push(readShape(PROCESS_ENTRY, decodeValue(bytes.subarray(at, end)), "entry"));
    at = end;
  }
  assertEquals(entries.length, count);
  const own = entries.find(({ pid }) => pid === proc.pid)!;
  assertEquals(toText(own.command), "cat -u -");
  assertEquals([own.ppid, own.pgid, own.sid], [agent.process.pid, proc.pid, proc.pid]);
  assertEquals([own.threads, own.uid, own.state], [1, Deno.uid(), "S"]);
  proc.stdin!.end();
  assertEquals((await proc.events.next("exit")).code, 0);
});
