import { HostError } from "../../errors.ts";
import { ControlPort } from "../control_port.ts";
import { type AgentSecret, drawSecret } from "../identity.ts";
import type { MachineSpec } from "../types.ts";
import type { TransportDecision } from "../vsock.ts";
import type { BootFile } from "../../image/mod.ts";
import type { DiskPlan, NicPlan } from "./argv.ts";
import { SECRET_FIRMWARE_FILE, takesBootFiles, writeBootMedia } from "./boot_files.ts";
import { makeOverlay } from "./disks.ts";
import { kernelCmdline } from "./kernel_cmdline.ts";
import type { QemuMachine } from "./machine.ts";
import { canIgnoreShared, loadState, saveState } from "./migrate.ts";
import { makeRamFile } from "./ram_file.ts";
import { restoreDisks, type SavedDisk } from "./saved_disks.ts";
import { saveMachine } from "./saved_state.ts";
import {
  makeMachine,
  type StartContext,
  type StartedProgram,
  startMachine,
  startProgram,
} from "./start.ts";
import { ENTRY_FILES, sealEntry, type StateEntry, type StateFacts } from "./state_entry.ts";
import { runOnce } from "./warm_up.ts";

/** Options for {@linkcode buildTemplate}. */
export interface BuildTemplateOptions {
  /** Empty folder that becomes the template. */
  dir: string;
  agentTimeoutMs: number;
  /** Whether it gets an address on vsock. */
  vsock: boolean;
}

/**
 * Boots a machine with its memory in a file, brings its agent to rest, saves the devices' state, and ends it.
 *
 * @returns Milliseconds from QEMU's start to the agent's first words.
 */
export async function buildTemplate(
  context: StartContext,
  spec: MachineSpec,
  { dir, agentTimeoutMs, vsock }: BuildTemplateOptions,
): Promise<number> {
  const { image, memoryBytes, cpus, signal } = spec;
  const began = performance.now();
  const auth = drawSecret();
  const ram = `${dir}/${ENTRY_FILES.ram}`;
  await context.run.guardPath(dir); // until it gets its name
  await makeRamFile(ram, memoryBytes);
  const media = await writeBootMedia(dir, image, auth.secret, {
    files: templateFiles(spec),
    signal,
  });
  const disks = image.disk ? [rootDisk(await makeOverlay(dir, ROOT_DISK, image.disk))] : [];
  const cmdline = kernelCmdline({
    image: image.cmdline,
    instead: spec.cmdline,
    append: spec.cmdlineAppend,
    vsock,
  });
  // A machine of its own name: the clones' names, times and seeds are theirs.
  const own = { name: `template of ${image.name}`, hostname: "template", signal };
  await using machine = await startMachine(context, own, {
    plan: () =>
      Promise.resolve({
        memoryBytes,
        cpus,
        ram: { kind: "template", path: ram },
        kernel: image.kernel,
        initrd: media.initrd,
        cmdline,
        disks,
        nics: [],
        firmwareFiles: media.firmwareFiles,
        incoming: false,
      }),
    hasVsock: vsock,
    transport: { transport: "serial", why: "it is only brought to rest", isWish: true },
    how: "boot",
    howWhy: "to make a template",
    bootSecret: auth.secret,
    agentTimeoutMs,
  });
  if (!await canIgnoreShared(machine.qmp)) {
    throw new HostError(`Cannot make templates with QEMU ${context.qemu.version}`, {
      code: "NO_TEMPLATES",
      actual: 'it has no migration capability "x-ignore-shared"',
      next: "use QEMU 7.2 or a later one that has it; machines boot cold meanwhile",
    });
  }
  const client = await machine.connect(auth, agentTimeoutMs, signal);
  const helloMs = performance.now() - machine.startedMs;
  // What a clone is asked first is done once here: what the kernel and the agent make at their first time (threads,
  // folders, caches of names and pages) is in the template then, and no clone has to make it.
  await machine.personalize(signal);
  await runOnce(machine.control, { timeoutMs: agentTimeoutMs, signal });
  await machine.quiesce(signal);
  await machine.pause();
  await saveState(machine.qmp, `${dir}/${ENTRY_FILES.state}`, {
    ignoreShared: true,
    dir: machine.dir,
    machine: machine.name,
    signal,
  });
  // Before anything else can happen to the file: the source must never run again.
  await machine.quit();
  await machine.console.ended;
  await Deno.writeFile(`${dir}/${ENTRY_FILES.console}`, machine.console.bytes(), { mode: 0o600 });
  await machine.console.remove();
  await sealEntry(dir, {
    memoryBytes,
    cpus,
    cmdline,
    kernel: image.kernel,
    kernelRelease: client.agent.kernel,
    hasInitrd: media.initrd !== undefined,
    vsock,
    diskSize: image.disk && (await Deno.stat(`${dir}/${ENTRY_FILES.disk}`)).size,
    hasFirmwareSecret: media.firmwareFiles.length > 0,
    imageDigest: image.digest,
    qemu: context.qemu.version,
    buildMs: Math.round(performance.now() - began),
  }, { auth: machine.auth!, bootSecret: auth.secret });
  return helloMs;
}

/** Id of the disk that belongs to an image; also its serial number, by which the guest finds it. */
export const ROOT_DISK = "root";

/** Files that have to be there before the image's own init runs: they belong to the template. */
export function templateFiles({ image, files = [] }: MachineSpec): BootFile[] {
  return takesBootFiles(image) && !image.agentIsInit ? files : [];
}

/** Disks of a saved machine; a template's only one is its image's. */
export function savedDisks({ disks, diskSize }: StateFacts): SavedDisk[] {
  if (disks) return disks;
  return diskSize === undefined
    ? []
    : [{ id: ROOT_DISK, format: "qcow2", readonly: false, file: ENTRY_FILES.disk }];
}

/** Tells which devices of a machine come with its state, and which have to be plugged in. */
function matchDevices(facts: StateFacts, { disks = [], nics = [] }: MachineSpec) {
  const hasDisk = new Set(savedDisks(facts).map(({ id }) => id));
  const wanted = new Map(nics.map((nic) => [nic.id, nic]));
  const saved = facts.nics ?? [];
  const hasNic = new Set(saved.map(({ id }) => id));
  return {
    disks: disks.filter(({ id }) => !hasDisk.has(id)),
    nics: nics.filter(({ id }) => !hasNic.has(id)),
    // Nobody listens for a card that is not asked for any more.
    savedNics: saved.map((nic) => {
      const { mac = nic.mac, socketPath } = wanted.get(nic.id) ?? {};
      return { ...nic, mac, socketPath };
    }),
    // Until the next reset the address is the state's, whatever the arguments say: the agent changes it.
    macs: saved.flatMap(({ id, mac }) => {
      const to = wanted.get(id)?.mac ?? mac;
      return to === mac ? [] : [{ from: mac, to }];
    }),
  };
}

/** The disk of an image among a machine's. */
export function rootDisk(path: string): DiskPlan {
  return { id: ROOT_DISK, path, format: "qcow2", readonly: false };
}

/** Options for {@linkcode loadClone}. */
export interface LoadCloneOptions {
  /** Name of the machine, for errors. */
  name: string;
  entry: StateEntry;
  /** Cards of the state. @default those of the entry, connected to nothing */
  nics?: NicPlan[];
  signal?: AbortSignal;
}

/** A clone whose state is loaded and which stands still: whose machine it becomes is open. */
export interface LoadedClone extends AsyncDisposable {
  readonly entry: StateEntry;
  readonly program: StartedProgram;
  readonly port: ControlPort;
  /** What its agent knows; something else than the entry's once it was talked to. */
  auth: AgentSecret;
  readonly loadMs: number;
  /** What was done with it before its machine was asked for, once that is over. */
  aheadMs: number;
}

/** Starts QEMU with a private view of a saved state's memory, and loads the state of the devices. */
export async function loadClone(
  context: StartContext,
  { name, entry, nics, signal }: LoadCloneOptions,
): Promise<LoadedClone> {
  const { facts, dir } = entry;
  await using failed = new AsyncDisposableStack();
  const program = failed.use(
    await startProgram(context, { name, signal }, {
      plan: async (own) => ({
        memoryBytes: facts.memoryBytes,
        cpus: facts.cpus,
        ram: { kind: "clone", path: `${dir}/${ENTRY_FILES.ram}` },
        // Needed again by a reset; costs nothing until then.
        kernel: facts.kernel,
        initrd: facts.hasInitrd ? `${dir}/${ENTRY_FILES.initrd}` : undefined,
        cmdline: facts.kernel === undefined ? undefined : facts.cmdline,
        disks: await restoreDisks(savedDisks(facts), dir, own),
        nics: nics ?? facts.nics ?? [],
        firmwareFiles: facts.hasFirmwareSecret
          ? [{ name: SECRET_FIRMWARE_FILE, path: `${dir}/${ENTRY_FILES.firmwareSecret}` }]
          : [],
        incoming: true,
      }),
      hasVsock: facts.vsock,
      consoleBefore: entry.console,
    }),
  );
  const loading = performance.now();
  await loadState(program.qemu.qmp, entry.state, {
    ignoreShared: true,
    dir: program.dir,
    machine: name,
    signal,
  });
  failed.move(); // the caller's from here on
  return {
    entry,
    program,
    port: new ControlPort(program.qemu.control),
    auth: entry.auth,
    loadMs: performance.now() - loading,
    aheadMs: 0,
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

/** Options for {@linkcode startClone}. */
export interface StartCloneOptions {
  entry: StateEntry;
  agentTimeoutMs: number;
  /** Folder for the states of machines that are saved. */
  snapshots: string;
  transport: TransportDecision;
  /** A clone of the same entry that was loaded before; owned from the call on. */
  loaded?: LoadedClone;
}

/** Starts a machine from a saved state, with a private view of its memory and an identity of its own. */
export async function startClone(
  context: StartContext,
  spec: MachineSpec,
  options: StartCloneOptions,
): Promise<QemuMachine> {
  const { entry, agentTimeoutMs, snapshots, transport } = options;
  const { name, signal } = spec;
  const { facts, dir } = entry;
  const { disks: newDisks, nics: newNics, savedNics, macs } = matchDevices(facts, spec);
  await using failed = new AsyncDisposableStack();
  const loaded = failed.use(
    options.loaded ?? await loadClone(context, { name, entry, nics: savedNics, signal }),
  );
  signal?.throwIfAborted();
  const machine = failed.use(makeMachine(context, spec, loaded.program, {
    transport,
    how: "clone",
    howWhy: "",
    bootSecret: entry.bootSecret,
    agentTimeoutMs,
    files: templateFiles(spec).length > 0 ? [] : spec.files,
    macs,
    port: loaded.port,
    save: (self, saving) =>
      saveMachine(context, self, {
        facts,
        bootSecret: entry.bootSecret,
        initrd: facts.hasInitrd ? `${dir}/${ENTRY_FILES.initrd}` : undefined,
        firmwareSecret: facts.hasFirmwareSecret
          ? `${dir}/${ENTRY_FILES.firmwareSecret}`
          : undefined,
      }, { ...saving, root: snapshots }),
  }));
  const { timings } = machine.info;
  const plugging = performance.now();
  for (const disk of newDisks) await machine.attachDisk(disk);
  for (const nic of newNics) await machine.attachNic(nic);
  const plugMs = performance.now() - plugging;
  if (options.loaded === undefined) {
    timings.loadMs = loaded.loadMs + plugMs;
  } else {
    delete timings.spawnMs;
    timings.aheadMs = loaded.aheadMs;
    timings.loadMs = plugMs;
  }
  const resumed = performance.now();
  // At once: the port holds the harness' first words until the guest runs.
  const [client] = await Promise.all([
    machine.connect(loaded.auth, agentTimeoutMs, signal),
    machine.resume(),
  ]);
  machine.info.kernel = client.agent.kernel;
  timings.helloMs = performance.now() - resumed;
  await machine.personalize(signal);
  timings.identityMs = performance.now() - resumed - timings.helloMs;
  failed.move(); // the caller's from here on
  return machine;
}
