import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  groupMembers,
  parseProcStat,
  processesWithToken,
  processMemory,
  procStat,
  spawnDetached,
} from "../../src/host/mod.ts";

const TAIL =
  "0 -1 4194304 55 0 0 0 0 0 0 0 20 0 1 0 90018 2703360 284 18446744073709551615 0 0 0 0 0";

Deno.test("parseProcStat() reads odd program names", async (t) => {
  const rows = ["cat", "a b", "x) R 1 2", "((", ")", "kworker/0:1-ev", ""];
  for (const command of rows) {
    await t.step(JSON.stringify(command), () => {
      assertEquals(parseProcStat(`17 (${command}) S 4 5 6 ${TAIL}\n`), {
        pid: 17,
        command,
        state: "S",
        ppid: 4,
        pgid: 5,
        sid: 6,
        startTicks: 90018,
      });
    });
  }
});

Deno.test("parseProcStat() refuses text that is cut off", () => {
  assertThrows(() => parseProcStat("17 (cat) S 4"), SyntaxError, "17 (cat) S 4");
});

Deno.test("procStat() knows this process and none that is not there", async () => {
  const own = await procStat(Deno.pid);
  assertEquals(own?.pid, Deno.pid);
  assertEquals(own?.ppid, Deno.ppid);
  assertEquals(await procStat(2 ** 22 + 1), undefined);
});

Deno.test("groupMembers() leaves out zombies", async () => {
  // The shell does not wait for its first child, which becomes a zombie as soon as it ends.
  const child = spawnDetached("sh", {
    args: ["-c", "true & sleep 300 & echo $!; wait $!"],
    stdout: "piped",
  });
  const reader = child.stdout.getReader();
  const sleeper = Number(new TextDecoder().decode((await reader.read()).value));
  const members = await groupMembers(child.pid);
  const pids = members.map(({ pid }) => pid);
  assert(pids.includes(child.pid) && pids.includes(sleeper), `${pids} without ${sleeper}`);
  assert(members.every(({ pgid, state }) => pgid === child.pid && state !== "Z"));
  Deno.kill(-child.pid, "SIGKILL");
  // Not reaped yet: it is there, but no member.
  await reader.read();
  await child.status;
  await reader.cancel();
  assertEquals(await groupMembers(child.pid), []);
});

Deno.test("processesWithToken() finds what left its group, by the whole value", async () => {
  const token = crypto.randomUUID();
  const child = spawnDetached("sh", {
    args: ["-c", "setsid sleep 300 & echo; wait"],
    env: { BELLJAR_TOKEN: token },
    stdout: "piped",
  });
  const reader = child.stdout.getReader();
  await reader.read();
  let found = await processesWithToken(token);
  while (!found.some(({ command }) => command === "sleep")) found = await processesWithToken(token);
  assert(found.some(({ pid }) => pid === child.pid));
  assertEquals(await processesWithToken(token.slice(0, -1)), []);
  for (const { pid } of found) Deno.kill(pid, "SIGKILL");
  await child.status;
  await reader.cancel();
});

Deno.test("processMemory() knows what this process uses", async () => {
  const memory = (await processMemory(Deno.pid))!;
  assert(memory.anonymousBytes > 1024 ** 2);
  assert(memory.pssBytes > memory.anonymousBytes / 2);
  assert(memory.rssBytes >= memory.pssBytes);
  assertEquals(await processMemory(2 ** 22 + 1), undefined);
});

Deno.test("processesWithToken() sees a process that becomes one program after the other", async () => {
  const script = 'n=${N:-0}; [ $n -ge 5000 ] && exec sleep 300; N=$((n+1)) exec sh -c "$S"';
  const token = crypto.randomUUID();
  const child = new Deno.Command("sh", {
    args: ["-c", script],
    env: { S: script, MARK: token },
    stdin: "null",
  }).spawn();
  try {
    let missed = 0;
    for (let look = 0; look < 200; look++) {
      const found = await processesWithToken(token, "MARK");
      if (!found.some(({ pid }) => pid === child.pid)) missed++;
    }
    // Read once, without a second look, it is missed one time in twenty.
    assertEquals(missed, 0);
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
});
