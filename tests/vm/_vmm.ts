import { openRun, pause, processesWithToken, type Run } from "../../src/host/mod.ts";
import { agentBinary, type Image, resolveImage } from "../../src/image/mod.ts";
import { type MachineSpec, QemuVmm, type QemuVmmOptions } from "../../src/vmm/mod.ts";
import type { AgentClient } from "../../src/wire/mod.ts";
import { toBytes } from "../../src/wire/mod.ts";
import { makeTempDir } from "../host/_temp.ts";

/** Longest wait for anything in these tests; they fail by it, they never measure. */
export const LIMIT_MS = 120_000;

/** A QEMU machine monitor with a run of its own. */
export interface TestVmm extends AsyncDisposable {
  vmm: QemuVmm;
  run: Run;
  image: Image;
  /** What to start; the image is tiny. */
  spec(spec?: Partial<MachineSpec>): MachineSpec;
}

/** Opens a run in a folder of its own, which is checked to be empty of processes when it is closed. */
export async function openVmm(options: QemuVmmOptions = {}): Promise<TestVmm> {
  const dir = await makeTempDir();
  const run = await openRun({ root: dir.path, agentBinary: () => agentBinary() });
  const image = await resolveImage("tiny");
  return {
    vmm: new QemuVmm({ run: () => Promise.resolve(run), ...options }),
    run,
    image,
    spec: (spec = {}) => ({
      name: "test",
      image,
      memoryBytes: 128 * 1024 ** 2,
      cpus: 1,
      agentTimeoutMs: LIMIT_MS,
      ...spec,
    }),
    async [Symbol.asyncDispose]() {
      await run.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

/** Runs a shell command in the guest and returns what it wrote. */
export async function shell(client: AgentClient, command: string): Promise<string> {
  const stream = client.openStream("in");
  const proc = client.newId();
  const exited = Promise.withResolvers<void>();
  const off = client.on(proc, (event) => {
    if (event.ev === "exit") exited.resolve();
  });
  client.closed.then((reason) => exited.reject(reason));
  exited.promise.catch(() => {}); // the output's end tells first
  await client.request("spawn", {
    proc,
    argv: ["/bin/sh", "-c", command].map(toBytes),
    stdout: stream.id,
    stderr: stream.id,
  }, { timeoutMs: LIMIT_MS });
  const output = await stream.collect();
  await exited.promise;
  off();
  await client.request("procRelease", { proc });
  return new TextDecoder().decode(output);
}

/** Bytes of a text. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** Waits until nothing of a run is left: the watcher of a process sees its end a moment after others do. */
export async function untilNoProcesses(token: string): Promise<void> {
  const giveUpAt = performance.now() + LIMIT_MS;
  for (;;) {
    const left = await processesWithToken(token);
    if (left.length === 0) return;
    if (performance.now() > giveUpAt) {
      throw new Error(`still there: ${left.map(({ pid, command }) => `${pid} ${command}`)}`);
    }
    await pause(10);
  }
}
