/** One command in a guest: by belljar, by qemu-guest-agent and by ssh, in turns and in the same guest. */
import type { Vm } from "../../src/lab/mod.ts";
import { type Bench, scoped } from "./bench.ts";
import { GuestExec } from "./guest_exec.ts";
import { errorText, type Figures, inTurns, ms, notMeasured } from "./measure.ts";
import { type Contender, median, type Row, type RowHead, time, times } from "./measure.ts";
import { findOrFetch } from "./packages.ts";
import { bootPeerGuest, type PeerGuest } from "./peer_guest.ts";
import { rawEcho } from "./raw_line.ts";
import { Ssh } from "./ssh.ts";

const ROUNDS = 10;
/** Connections of their own take long. */
const FRESH_SHARE = 5;
const AGAIN_MS = 5;

const OWN: RowHead = { id: "run", measure: '`vm.run("true")`: by the shell, and directly' };
const EXEC: RowHead = {
  id: "run.guest-exec",
  measure: '`vm.run("true")` against `guest-exec` of qemu-guest-agent in the same guest',
  target: "≥ 5 × faster",
};
const KEPT: RowHead = {
  id: "run.ssh-kept",
  measure: "… against ssh to dropbear in the same guest, over a connection that is kept",
  target: "≥ 3 × faster",
};
const FRESH: RowHead = {
  id: "run.ssh-fresh",
  measure: "… against the same with a connection each time",
  target: "≥ 3 × faster",
};

/** Rows of `run`. */
export async function commandRows(bench: Bench): Promise<Row[]> {
  return await scoped(async () => {
    const guest = await bootPeerGuest();
    const { vm } = guest;
    const exec = await tried(bench, () => startGuestExec(bench, guest));
    const ssh = await tried(bench, () => startSsh(bench, guest));
    await vm.copyIn(await rawEcho(bench), "/tmp/raw_echo");
    const perRound = Math.ceil(bench.effort.commands / ROUNDS);
    const runs = (sample: () => Promise<unknown>, share = 1): Contender => ({
      times: Math.ceil(perRound / share),
      sample: () => time(sample),
    });
    const sh = ["-c", "true"];
    const asked = { atOnce: 0, after: 0 };
    const polling = (way: keyof typeof asked, pauseMs: number): Contender =>
      runs(async () => {
        const { value } = exec as { value: GuestExec };
        const before = value.asked;
        await value.run("/bin/sh", sh, pauseMs);
        asked[way] += value.asked - before;
      });
    const contenders: Record<string, Contender> = {
      shell: runs(() => vm.run("true", { check: true })),
      direct: runs(() => vm.run("true", { args: [], check: true })),
      ..."value" in exec ? { atOnce: polling("atOnce", 0), after: polling("after", AGAIN_MS) } : {},
      ..."value" in ssh
        ? { kept: runs(() => ssh.value.kept()), fresh: runs(() => ssh.value.fresh(), FRESH_SHARE) }
        : {},
      // As often as there are rounds, each the median of some.
      floor: { times: 1, sample: () => spawnInGuest(vm, perRound) },
    };
    await inTurns(1, contenders); // code that nobody has translated or compiled yet
    asked.atOnce = asked.after = 0;
    bench.tell(
      `${ROUNDS} rounds of ${perRound} commands, by ${Object.keys(contenders).join(", ")}`,
    );
    const found = await inTurns(ROUNDS, contenders);
    if ("value" in exec) exec.value.close();
    if ("value" in ssh) await ssh.value.close();
    const [shell, floor] = [found.shell!, found.floor!];
    const against = (head: RowHead, other: Figures, least: number, note = ""): Row => {
      const ratio = other.p50 / shell.p50;
      const added = (other.p50 - floor.p50) / Math.max(0.001, shell.p50 - floor.p50);
      return {
        ...head,
        result: `p50 ${ms(shell.p50)} against ${ms(other.p50)}${note}: ${
          times(ratio)
        } faster; without what the guest needs for the command itself, ${times(added)}`,
        met: ratio >= least,
        values: {
          p50: shell.p50,
          otherP50: other.p50,
          otherP99: other.p99,
          ratio,
          addedRatio: added,
          runs: other.runs,
        },
      };
    };
    return [
      {
        ...OWN,
        result: `p50 ${ms(shell.p50)}, p99 ${ms(shell.p99)}; p50 ${ms(found.direct!.p50)}, p99 ${
          ms(found.direct!.p99)
        }; the guest itself needs ${ms(floor.p50)} to run the shell`,
        values: {
          shellP50: shell.p50,
          shellP99: shell.p99,
          directP50: found.direct!.p50,
          directP99: found.direct!.p99,
          guestP50: floor.p50,
          runs: shell.runs,
        },
      },
      "value" in exec ? execRow(found, asked, against) : notMeasured(EXEC, exec.why),
      "value" in ssh ? against(KEPT, found.kept!, 3) : notMeasured(KEPT, ssh.why),
      "value" in ssh ? against(FRESH, found.fresh!, 3) : notMeasured(FRESH, ssh.why),
    ];
  });
}

/** The better of two ways to ask for a command's end, and how often that had to be asked. */
function execRow(
  found: Record<string, Figures>,
  asked: { atOnce: number; after: number },
  against: (head: RowHead, other: Figures, least: number, note: string) => Row,
): Row {
  const way = found.atOnce!.p50 <= found.after!.p50 ? "atOnce" : "after";
  const questions = asked[way] / found[way]!.runs;
  const how = way === "atOnce" ? "at once" : `every ${AGAIN_MS} ms`;
  const note = ` (${questions.toFixed(1)} questions each, asked again ${how})`;
  const row = against(EXEC, found[way]!, 5, note);
  return {
    ...row,
    values: {
      ...row.values,
      questions,
      atOnceP50: found.atOnce!.p50,
      afterP50: found.after!.p50,
    },
  };
}

/** Milliseconds that the guest takes by itself to run the shell once: the median of `count`. */
async function spawnInGuest(vm: Vm, count: number): Promise<number> {
  const args = ["spawn", String(count), "/bin/sh", "-c", "true"];
  const { stdout } = await vm.run("/tmp/raw_echo", { args, check: true });
  return median(stdout.trim().split("\n").map(Number)) / 1000;
}

async function startGuestExec(bench: Bench, guest: PeerGuest): Promise<GuestExec> {
  const program = await findOrFetch(bench, { name: "qemu-ga", from: "qemu-guest-agent" });
  return await GuestExec.start(bench, guest, program);
}

async function startSsh(bench: Bench, guest: PeerGuest): Promise<Ssh> {
  const [server, client, keygen] = [
    await findOrFetch(bench, { name: "dropbear", from: "dropbear-bin" }),
    await findOrFetch(bench, { name: "ssh", from: "openssh-client" }),
    await findOrFetch(bench, { name: "ssh-keygen", from: "openssh-client" }),
  ];
  return await Ssh.start(bench, guest, { server, client, keygen });
}

/** What `fn` gives, or why it gives nothing. */
async function tried<T>(
  bench: Bench,
  fn: () => Promise<T>,
): Promise<{ value: T } | { why: string }> {
  try {
    return { value: await fn() };
  } catch (error) {
    bench.tell(errorText(error));
    return { why: errorText(error) };
  }
}
