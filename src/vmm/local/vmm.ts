import { HostError } from "../../errors.ts";
import { removeTree, type Run } from "../../host/mod.ts";
import { agentBinary } from "../../image/mod.ts";
import { timeScale } from "../../scope/mod.ts";
import { VERSION } from "../../wire/mod.ts";
import { ConsoleLog } from "../console_log.ts";
import { hostRun } from "../host_run.ts";
import { drawSecret } from "../identity.ts";
import type { Machine, MachineSpec, SavedState, Vmm } from "../types.ts";
import { drawLoopbackPort, LOOPBACK_CID } from "../vsock.ts";
import { LocalMachine } from "./machine.ts";
import { namespacePlan } from "./namespaces.ts";

/** Options for {@linkcode LocalVmm}. */
export interface LocalVmmOptions {
  /** The run that machines belong to; that of this process by default. */
  run?: () => Promise<Run>;
  /** Path of the agent, such as one built with sanitizers; the usual one by default. */
  agent?: string;
}

const AGENT_MS = 10_000;

/** Starts agents on the host: for quick loops, and for tests of belljar itself. */
export class LocalVmm implements Vmm {
  readonly name = "local";
  readonly #options: LocalVmmOptions;

  constructor(options: LocalVmmOptions = {}) {
    this.#options = options;
  }

  /** It is there in 20 ms: nothing is gained by preparing it. */
  standbyKey(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  standby(): Promise<never> {
    return Promise.reject(new TypeError("Machines without QEMU are not prepared ahead"));
  }

  async launch(spec: MachineSpec): Promise<Machine> {
    const began = performance.now();
    refuseHardware(spec);
    const { signal } = spec;
    const run = await (this.#options.run ?? hostRun)();
    const agent = this.#options.agent ?? await agentBinary();
    const { prefix, why } = await namespacePlan();
    const timeoutMs = spec.agentTimeoutMs ?? AGENT_MS * timeScale();
    const dir = await run.machineDir();
    await using failed = new AsyncDisposableStack();
    failed.defer(() => removeTree(dir));
    const auth = drawSecret();
    const secretFile = `${dir}/secret`;
    await Deno.writeFile(secretFile, auth.secret, { mode: 0o600 });
    const listener = Deno.listen({ transport: "unix", path: `${dir}/c` });
    failed.defer(() => closeQuietly(listener));
    const port = spec.transport === "vsock" ? await drawLoopbackPort(spec.name) : undefined;
    const own = ["agent", "--control", `unix:${dir}/c`, "--secret-file", secretFile];
    if (port !== undefined) own.push("--listen", `vsock:${port}`);
    const [command, ...args] = [...prefix, agent, ...own];
    const process = failed.use(
      await run.spawnGuarded(command!, { args, stdout: "null", stderr: "piped", signal }),
    );
    const console = new ConsoleLog({ path: `${dir}.log`, writesFile: true });
    console.follow(process.stderr);
    const machine = failed.use(
      new LocalMachine({
        name: spec.name,
        dir,
        console,
        process,
        listener,
        info: {
          vmm: "local",
          version: VERSION,
          how: "boot",
          howWhy: "the agent runs on the host",
          accel: "none",
          accelWhy: `no machine is emulated; it runs ${why}`,
          transport: port === undefined ? "local" : "vsock",
          transportWhy: port === undefined ? "a unix socket of the host" : "asked for",
          ...port === undefined ? {} : { cid: LOOPBACK_CID },
          pid: process.pid,
          timings: { totalMs: 0 },
        },
      }),
    );
    await machine.connect(auth, timeoutMs, signal);
    const { info } = machine;
    info.kernel = machine.client!.agent.kernel;
    info.timings.helloMs = performance.now() - began;
    info.timings.totalMs = performance.now() - began;
    failed.move(); // the caller's from here on
    return machine;
  }

  restore(_state: SavedState, spec: MachineSpec): Promise<Machine> {
    return Promise.reject(
      new HostError(`Cannot restore machine "${spec.name}" with the local VMM`, {
        code: "NOT_LOCAL",
        next: "run with --vmm qemu",
      }),
    );
  }

  openState(path: string): Promise<SavedState> {
    return Promise.reject(
      new HostError(`Cannot use the state at "${path}" with the local VMM`, {
        code: "NOT_LOCAL",
        next: "run with --vmm qemu",
      }),
    );
  }

  stateKey(): Promise<string> {
    return Promise.resolve("local"); // It has no states.
  }
}

function refuseHardware({ name, disks = [], nics = [], expect, files = [] }: MachineSpec): void {
  const what = disks.length > 0
    ? "disks"
    : nics.length > 0
    ? "network cards"
    : expect === "no-agent"
    ? 'expect: "no-agent"'
    : files.length > 0
    ? `files, such as "${files[0]!.path}", which would be written to the host`
    : undefined;
  if (what === undefined) return;
  throw new HostError(`Cannot start machine "${name}" with the local VMM: it has ${what}`, {
    code: "NOT_LOCAL",
    next: "run with --vmm qemu",
  });
}

function closeQuietly(resource: { close(): void }): void {
  try {
    resource.close();
  } catch {
    // Closed already.
  }
}
