import { DeadlineError, GuestError, HostError } from "../../errors.ts";
import { formatSeconds } from "../../values/duration.ts";
import { type AgentClient, type RequestOptions, toBytes } from "../../wire/mod.ts";
import { drawSecret } from "../identity.ts";
import type { MachineSpec } from "../types.ts";
import type { TransportDecision } from "../vsock.ts";
import type { BootFile } from "../../image/mod.ts";
import type { DiskPlan } from "./argv.ts";
import { SECRET_FIRMWARE_FILE, takesBootFiles, writeBootMedia } from "./boot_files.ts";
import { makeOverlay } from "./disks.ts";
import { kernelCmdline } from "./kernel_cmdline.ts";
import type { QemuMachine } from "./machine.ts";
import { canIgnoreShared, loadState, saveState } from "./migrate.ts";
import { makeRamFile } from "./ram_file.ts";
import { restoreDisks, type SavedDisk } from "./saved_disks.ts";
import { saveMachine } from "./saved_state.ts";
import { type StartContext, startMachine } from "./start.ts";
import { ENTRY_FILES, sealEntry, type StateEntry, type StateFacts } from "./state_entry.ts";

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

/** Runs a program of the guest to its end, if it has one that does nothing. */
async function runOnce(client: AgentClient, options: RequestOptions): Promise<void> {
  const proc = client.newId();
  const empty = Promise.withResolvers<void>();
  const unlisten = client.on(proc, ({ ev }) => ev === "empty" && empty.resolve());
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(silent(options)), options.timeoutMs);
  const onAbort = () => reject(options.signal!.reason);
  options.signal?.addEventListener("abort", onAbort, { once: true });
  client.closed.then(reject);
  try {
    const argv = ["/bin/sh", "-c", "true"].map(toBytes);
    await client.request("spawn", { proc, argv, env: [], clearEnv: false }, options);
    await Promise.race([empty.promise, late]);
    await client.request("procRelease", { proc }, options);
  } catch (error) {
    if (!(error instanceof GuestError)) throw error; // an image without a shell
  } finally {
    late.catch(() => {}); // lost the race
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", onAbort);
    unlisten();
  }
}

function silent({ timeoutMs = 0 }: RequestOptions): DeadlineError {
  return new DeadlineError("Cannot make a template: its first process does not end", {
    expected: `the end of "/bin/sh -c true" within ${formatSeconds(timeoutMs / 1000)}`,
    next: "boot with `cold: true`, and see what /bin/sh of the image does",
  });
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

/** Options for {@linkcode startClone}. */
export interface StartCloneOptions {
  entry: StateEntry;
  agentTimeoutMs: number;
  /** Folder for the states of machines that are saved. */
  snapshots: string;
  transport: TransportDecision;
}

/** Starts a machine from a saved state, with a private view of its memory and an identity of its own. */
export async function startClone(
  context: StartContext,
  spec: MachineSpec,
  { entry, agentTimeoutMs, snapshots, transport }: StartCloneOptions,
): Promise<QemuMachine> {
  const { signal } = spec;
  const { facts, dir } = entry;
  const { disks: newDisks, nics: newNics, savedNics, macs } = matchDevices(facts, spec);
  await using failed = new AsyncDisposableStack();
  const machine = failed.use(
    await startMachine(context, spec, {
      plan: async (own) => ({
        memoryBytes: facts.memoryBytes,
        cpus: facts.cpus,
        ram: { kind: "clone", path: `${dir}/${ENTRY_FILES.ram}` },
        // Needed again by a reset; costs nothing until then.
        kernel: facts.kernel,
        initrd: facts.hasInitrd ? `${dir}/${ENTRY_FILES.initrd}` : undefined,
        cmdline: facts.kernel === undefined ? undefined : facts.cmdline,
        disks: await restoreDisks(savedDisks(facts), dir, own),
        nics: savedNics,
        firmwareFiles: facts.hasFirmwareSecret
          ? [{ name: SECRET_FIRMWARE_FILE, path: `${dir}/${ENTRY_FILES.firmwareSecret}` }]
          : [],
        incoming: true,
      }),
      hasVsock: facts.vsock,
      transport,
      how: "clone",
      howWhy: "",
      consoleBefore: entry.console,
      bootSecret: entry.bootSecret,
      agentTimeoutMs,
      files: templateFiles(spec).length > 0 ? [] : spec.files,
      macs,
      save: (self, options) =>
        saveMachine(context, self, {
          facts,
          bootSecret: entry.bootSecret,
          initrd: facts.hasInitrd ? `${dir}/${ENTRY_FILES.initrd}` : undefined,
          firmwareSecret: facts.hasFirmwareSecret
            ? `${dir}/${ENTRY_FILES.firmwareSecret}`
            : undefined,
        }, { ...options, root: snapshots }),
    }),
  );
  const { timings } = machine.info;
  const loading = performance.now();
  await loadState(machine.qmp, entry.state, {
    ignoreShared: true,
    dir: machine.dir,
    machine: spec.name,
    signal,
  });
  for (const disk of newDisks) await machine.attachDisk(disk);
  for (const nic of newNics) await machine.attachNic(nic);
  timings.loadMs = performance.now() - loading;
  const resumed = performance.now();
  // At once: the port holds the harness' first words until the guest runs.
  const [client] = await Promise.all([
    machine.connect(entry.auth, agentTimeoutMs, signal),
    machine.resume(),
  ]);
  machine.info.kernel = client.agent.kernel;
  timings.helloMs = performance.now() - resumed;
  await machine.personalize(signal);
  timings.identityMs = performance.now() - resumed - timings.helloMs;
  failed.move(); // the caller's from here on
  return machine;
}
