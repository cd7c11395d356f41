import { assert, assertEquals, assertMatch } from "@std/assert";
import { type AgentClient, toText } from "../../src/wire/mod.ts";
import { Events, readFile, run, spawn, writeFile } from "../agent/_agent.ts";
import { openVmm, shell } from "./_vmm.ts";

Deno.test("jobs of a guest live and die in groups of their own", async (t) => {
  await using host = await openVmm();
  await using machine = await host.vmm.launch(host.spec({ cold: true }));
  const client = machine.client!;
  const groups = async () =>
    (await shell(client, "ls -d /sys/fs/cgroup/belljar/*/ | wc -l")).trim();
  assert(client.agent.caps.includes("cgroup"), `${client.agent.caps}`);
  assertEquals(client.agent.role, "init");

  await t.step(
    "a descendant that left session and parent is a member until it is killed",
    async () => {
      const script =
        "(setsid sh -c 'unset BELLJAR_JOB; env -i sleep 600 & env -i sleep 601' &); exit 3";
      const proc = await spawn(client, ["sh", "-c", script]);
      const exit = await proc.events.next("exit");
      assertEquals(exit.code, 3);
      // They may still be on their way to what they run when the leader has ended.
      const deadline = performance.now() + 20_000;
      let members, commands: string[];
      do {
        ({ members } = await client.request("procMembers", { proc: proc.id }));
        commands = members.map(({ command }) => toText(command));
      } while (
        commands.filter((command) => command.startsWith("sleep 60")).length < 2 &&
        performance.now() < deadline
      );
      assertEquals(commands.sort(), ["sleep 600", "sleep 601"]);
      assertEquals(
        (await shell(client, `cat /proc/${members[0]!.pid}/cgroup`)).slice(0, 12),
        "0::/belljar/",
      );
      await client.request("procSignal", { proc: proc.id, sig: 9, target: 2 });
      await proc.events.next("empty");
      assertEquals((await client.request("procStatus", { proc: proc.id })).alive, 0);
      await client.request("procRelease", { proc: proc.id });
    },
  );
  await t.step("every member gets a signal that it can handle", async () => {
    // Each says so once its trap is set: a shell forgets signals between its fork and that.
    const wait = "echo ready; while :; do sleep 0.1; done";
    const script = `(trap 'echo too; exit' TERM; ${wait}) & trap 'echo got; exit 7' TERM; ${wait}`;
    const proc = await spawn(client, ["sh", "-c", script]);
    const ready = Promise.withResolvers<void>();
    let text = "";
    proc.stdout.receive((chunk) => {
      text += toText(chunk);
      if (text === "ready\nready\n") ready.resolve();
    });
    await ready.promise;
    await client.request("procSignal", { proc: proc.id, sig: 15, target: 2 });
    assertEquals((await proc.events.next("exit")).code, 7);
    await proc.events.next("empty");
    await proc.stdout.ended;
    assertEquals(text.split("\n").sort(), ["", "got", "ready", "ready", "too"]);
    await client.request("procRelease", { proc: proc.id });
  });
  await t.step("groups that a job made below its own go with it", async () => {
    const script = "g=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); mkdir $g/inner;" +
      ' sh -c "echo 0 > $g/inner/cgroup.procs; exec sleep 600" & sleep 0.3; exit 0';
    const proc = await spawn(client, ["sh", "-c", script]);
    const exit = await proc.events.next("exit");
    assertEquals(exit.alive, 1);
    await client.request("procSignal", { proc: proc.id, sig: 9, target: 2 });
    await proc.events.next("empty");
    await client.request("procRelease", { proc: proc.id });
  });
  await t.step("survivors of a released job keep their group until they end", async () => {
    const proc = await spawn(client, ["sh", "-c", "sleep 600 & exit 0"]);
    await proc.events.next("exit");
    const [survivor] = (await client.request("procMembers", { proc: proc.id })).members;
    await client.request("procRelease", { proc: proc.id });
    assertEquals(await groups(), "2");
    await shell(client, `kill ${survivor!.pid}`);
  });
  await t.step("200 jobs that fork twice leave nothing", async () => {
    const before = await client.request("counters", {});
    for (let i = 0; i < 20; i++) {
      await Promise.all(Array.from({ length: 10 }, async () => {
        const proc = await spawn(client, ["sh", "-c", "(sh -c 'exit 1' &); (true &)"]);
        await proc.events.next("empty");
        await Promise.all([proc.stdout.ended, proc.stderr.ended]);
        await client.request("procRelease", { proc: proc.id });
      }));
    }
    const after = await client.request("counters", {});
    assertEquals([after.procs, after.zombies, after.fds], [before.procs, 0, before.fds]);
    assertEquals(await groups(), "1"); // the one that asks
  });
});

Deno.test("a guest's machine is set up and told about", async (t) => {
  await using host = await openVmm();
  await using machine = await host.vmm.launch(host.spec({ cold: true }));
  const client = machine.client!;
  await t.step("file systems, loopback and terminal", async () => {
    const text = await shell(
      client,
      "cut -d' ' -f2,3 /proc/mounts; cat /sys/class/net/lo/operstate; ls /dev/fd/0",
    );
    for (
      const line of ["/proc proc", "/sys sysfs", "/dev devtmpfs", "/dev/pts devpts", "/run tmpfs"]
    ) {
      assert(text.includes(`${line}\n`), `${line} in ${text}`);
    }
    assert(text.includes("/sys/fs/cgroup cgroup2\n") && text.includes("/dev/shm tmpfs\n"), text);
    const proc = await spawn(client, ["tty"], { pty: [80, 24] });
    assertMatch(toText(await proc.stdout.collect()), /^\/dev\/pts\/\d+\r\n$/);
  });
  await t.step("jobs are not spared when memory runs out, the agent is", async () => {
    const text = await shell(client, "cat /proc/self/oom_score_adj; cat /proc/$PPID/oom_score_adj");
    assertEquals(text, "0\n-900\n");
  });
  await t.step("clock and host name", async () => {
    const realtimeNs = 1_000_000_000_000_000_000n;
    await client.request("clockSet", { realtimeNs });
    const clock = await client.request("clockGet", {});
    assert(clock.realtimeNs >= realtimeNs && clock.realtimeNs < realtimeNs + 60_000_000_000n);
    await client.request("setHostname", { hostname: "other" });
    assertEquals(await shell(client, "hostname; date +%Y"), "other\n2001\n");
  });
  await t.step("messages of the kernel", async () => {
    const events = new Events(client, 0);
    await client.request("kmsg", { level: 4 });
    await shell(client, "echo '<6>not this' >/dev/kmsg; echo '<3>but this' >/dev/kmsg");
    const { level, text } = await events.next("kmsg");
    assertEquals([level, toText(text)], [3, "but this"]);
    await client.request("kmsg", { level: -1 });
  });
  await t.step("orphans are reaped", async () => {
    await shell(client, "for i in $(seq 50); do (setsid true &); done");
    while ((await shell(client, "ps -o stat | grep -c '^Z'")).trim() !== "0");
  });
  await t.step("files of 20 MB go both ways", async () => {
    const data = new Uint8Array(20 * 1024 ** 2);
    for (let at = 0; at < data.length; at += 4096) data[at] = at / 4096;
    await writeFile(client, "/tmp/large", data);
    const back = await readFile(client, "/tmp/large");
    assert(back.length === data.length && back.every((byte, i) => byte === data[i]));
    await shell(client, "rm /tmp/large");
  });
  await t.step("the power button", async () => {
    const events = new Events(client, 0);
    await shell(client, "modprobe button && modprobe evdev && ls /dev/input/event0");
    await machine.powerButton();
    await events.next("powerButton");
  });
});

Deno.test("an agent that is killed is started once more, and its jobs are ended", async () => {
  await using host = await openVmm();
  await using machine = await host.vmm.launch(host.spec({ cold: true }));
  const first = machine.client!;
  const orphan = await spawn(first, ["sleep", "600"]);
  const worker = first.newId();
  const { pid: stuck } = await first.request("workerSpawn", { worker });
  // Blocked in pause() it does not see that its agent has gone.
  const nr = Deno.build.arch === "aarch64" ? 73 : 34;
  const args = nr === 34 ? [] : [0n, 0n, 0n];
  first.request("syscall", { nr, args }, { principal: worker }).catch(() => {});
  const again = Promise.withResolvers<AgentClient>();
  machine.onAgent(again.resolve);
  machine.ended.then(({ reason }) => again.reject(new Error(`the machine ended: ${reason}`)));
  await spawn(first, ["sh", "-c", "sleep 0.2; kill -9 $PPID"]);
  await first.closed;
  const second = await again.promise;
  assert(second.agent.pid !== first.agent.pid);
  // Nobody could end what the lost agent had started: its successor has.
  for (const pid of [orphan.pid, stuck]) {
    const { stdout } = await run(second, ["sh", "-c", `cat /proc/${pid}/comm 2>&1`]);
    assert(stdout.includes("No such file"), stdout);
  }
});
