/** What can be measured. */
import type { Group } from "./bench.ts";
import { binaryRows } from "./binary.ts";
import { clonesRows } from "./clones.ts";
import { outputRows } from "./flow.ts";
import { commandRows } from "./commands.ts";
import { idleRows } from "./idle.ts";
import { killsRows } from "./kills.ts";
import { runnerRows } from "./runner.ts";
import { snapshotRows } from "./snapshot.ts";
import { bootRows, freshRows } from "./start.ts";
import { pingRows, throughputRows } from "./transports.ts";

/** All groups, in the order in which they are measured. */
export const GROUPS: readonly Group[] = [
  {
    name: "boot",
    what: "clones against cold boots, and large ones against small ones",
    measure: bootRows,
  },
  {
    name: "fresh",
    what: "tests with machines of their own, against cold boots",
    measure: freshRows,
  },
  { name: "ping", what: "round trips per transport, against raw echoes", measure: pingRows },
  {
    name: "throughput",
    what: "bytes per second per transport, against the raw transport",
    measure: throughputRows,
  },
  {
    name: "run",
    what: "commands in a guest, against qemu-guest-agent and ssh",
    measure: commandRows,
  },
  { name: "clones", what: "memory of ten clones, and all at once", measure: clonesRows },
  { name: "snapshot", what: "time and memory of templates and snapshots", measure: snapshotRows },
  { name: "idle", what: "memory of the harness per idle machine", measure: idleRows },
  { name: "runner", what: "cost per test and per file", measure: runnerRows },
  { name: "binary", what: "start of the compiled program, and staging", measure: binaryRows },
  { name: "output", what: "1 GiB of output from one process", measure: outputRows },
  { name: "kills", what: "what random kills of the harness leave", measure: killsRows },
];
