/** Opens each transport twice, under the same circumstances: for an agent, and for raw_echo.c. */
import { agentOf } from "../lab/agent_of.ts";
import { lab, type Vm } from "../../src/lab/mod.ts";
import { resolveImage } from "../../src/image/mod.ts";
import { type LocalVmm, type Machine, vmmFor } from "../../src/vmm/mod.ts";
import { LOOPBACK_CID } from "../../src/vmm/vsock.ts";
import type { AgentClient } from "../../src/wire/mod.ts";
import { type Bench, freshDir } from "./bench.ts";
import type { Line } from "./conversation.ts";
import { rawEcho, RawLine } from "./raw_line.ts";
import { bootRawPort } from "./raw_port.ts";

/** Calls `fn` with a line and closes it afterwards. */
export type Opener = <T>(bench: Bench, fn: (line: Line) => Promise<T>) => Promise<T>;

const MEMORY_BYTES = 256 * 1024 ** 2;
const RAW_PORT = 1025;

/** QEMU's virtio-serial port. */
export const openSerial: Opener = async (bench, fn) => {
  const image = await resolveImage("tiny");
  const vmm = await vmmFor();
  await using agent = await vmm.launch({
    name: "bench-serial",
    image,
    memoryBytes: MEMORY_BYTES,
    cpus: 1,
    cold: true,
    transport: "serial",
  });
  const { accel } = agent.info;
  await using port = await bootRawPort(bench, { image, accel: accel === "kvm" ? "kvm" : "tcg" });
  return await fn({ client: clientOf(agent), raw: port.raw });
};

/** A unix socket of the host. */
export const openLocal: Opener = async (bench, fn) => {
  await using agent = await launchLocal(await vmmFor({ vmm: "local" }) as LocalVmm);
  const path = `${await freshDir(bench)}/s`;
  using listener = Deno.listen({ transport: "unix", path });
  await using _program = await bench.run.spawnGuarded(await rawEcho(bench), {
    args: ["unix", path],
    stdout: "null",
    stderr: "inherit",
  });
  const raw = new RawLine(await listener.accept());
  try {
    return await fn({ client: clientOf(agent), raw });
  } finally {
    raw.close();
  }
};

/** vsock of the host with itself. */
export const openLoopback: Opener = async (bench, fn) => {
  return await withLoopback(bench, await vmmFor({ vmm: "local" }) as LocalVmm, fn);
};

/** The same, with an agent that was given. */
export async function withLoopback<T>(
  bench: Pick<Bench, "run" | "dir">,
  vmm: LocalVmm,
  fn: (line: Line) => Promise<T>,
  program?: string,
): Promise<T> {
  await using agent = await launchLocal(vmm, "vsock");
  const port = 0x7000_0000 + crypto.getRandomValues(new Uint16Array(1))[0]!;
  await using server = await bench.run.spawnGuarded(program ?? await rawEcho(bench), {
    args: ["vsock", String(port)],
    stdout: "piped",
    stderr: "inherit",
  });
  await firstWords(server.stdout);
  const raw = new RawLine(
    await Deno.connect({ transport: "vsock", cid: LOOPBACK_CID, port }),
  );
  try {
    return await fn({ client: clientOf(agent), raw });
  } finally {
    raw.close();
  }
}

/** vsock between the host and a machine of QEMU; both ends of it serve in the same machine. */
export const openVhost: Opener = async (bench, fn) => {
  const program = await rawEcho(bench);
  const options = { memory: MEMORY_BYTES };
  const vm: Vm = await lab.vm("bench-vsock", "tiny", options).boot({
    cold: true,
    transport: "vsock",
  });
  await vm.copyIn(program, "/tmp/raw_echo");
  const server = await vm.runAsync("/tmp/raw_echo", { args: ["vsock", String(RAW_PORT)] });
  await server.stdout.expect("listening", "30s");
  const cid = vm.info.cid!;
  const raw = new RawLine(await Deno.connect({ transport: "vsock", cid, port: RAW_PORT }));
  try {
    return await fn({ client: agentOf(vm), raw });
  } finally {
    raw.close();
    await vm.kill();
  }
};

async function launchLocal(vmm: LocalVmm, transport?: "vsock"): Promise<Machine> {
  return await vmm.launch({
    name: "bench-local",
    // Not looked at: the agent runs on this host.
    image: undefined as never,
    memoryBytes: MEMORY_BYTES,
    cpus: 1,
    ...transport ? { transport } : {},
  });
}

/** The conversation with a machine's agent. */
export function clientOf(machine: Machine): AgentClient {
  if (!machine.client) throw new Error(`machine "${machine.name}" has no agent`);
  return machine.client;
}

async function firstWords(stream: ReadableStream<Uint8Array>): Promise<void> {
  const reader = stream.getReader();
  const { done } = await reader.read();
  reader.releaseLock();
  if (done) throw new Error("raw_echo ended before it listened");
}
