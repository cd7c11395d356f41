import { drawSecret } from "../identity.ts";
import type { MachineSpec } from "../types.ts";
import type { TransportDecision } from "../vsock.ts";
import type { BootFile } from "../../image/mod.ts";
import { type DiskPlan, HOTPLUG_PORTS } from "./argv.ts";
import { SECRET_FIRMWARE_FILE, takesBootFiles, writeBootMedia } from "./boot_files.ts";
import { makeOverlay, prepareDisk } from "./disks.ts";
import { kernelCmdline } from "./kernel_cmdline.ts";
import type { QemuMachine } from "./machine.ts";
import { loadState, saveState } from "./migrate.ts";
import { plugDisk, plugNic } from "./plug.ts";
import { makeRamFile } from "./ram_file.ts";
import { saveMachine } from "./saved_state.ts";
import { type StartContext, startMachine } from "./start.ts";
import { ENTRY_FILES, sealEntry, type StateEntry } from "./state_entry.ts";

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
  const client = await machine.connect(auth, agentTimeoutMs, signal);
  const helloMs = performance.now() - machine.startedMs;
  await client.request("ping", {}, { timeoutMs: agentTimeoutMs, signal });
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
  }, { auth, bootSecret: auth.secret });
  return helloMs;
}

/** Id of the disk that belongs to an image; also its serial number, by which the guest finds it. */
export const ROOT_DISK = "root";

/** Whether a machine has what a state of its memory does not hold. */
export function hasDevices({ image, disks = [], nics = [] }: MachineSpec): boolean {
  return disks.length > 0 || nics.length > 0 || image.disk !== undefined;
}

/** Files that have to be there before the image's own init runs: they belong to the template. */
export function templateFiles({ image, files = [] }: MachineSpec): BootFile[] {
  return takesBootFiles(image) && !image.agentIsInit ? files : [];
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
        // What the template wrote is the base of what each clone writes.
        disks: facts.diskSize === undefined ? [] : [
          rootDisk(
            await makeOverlay(own, ROOT_DISK, {
              path: `${dir}/${ENTRY_FILES.disk}`,
              format: "qcow2",
            }),
          ),
        ],
        nics: [],
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
      save: hasDevices(spec) ? undefined : (self, options) =>
        saveMachine(context, self, {
          facts,
          bootSecret: entry.bootSecret,
          initrd: facts.hasInitrd ? `${dir}/${ENTRY_FILES.initrd}` : undefined,
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
  const ports = [...HOTPLUG_PORTS];
  for (const disk of spec.disks ?? []) {
    await plugDisk(machine.qmp, ports.shift()!, await prepareDisk(machine.dir, disk));
  }
  for (const nic of spec.nics ?? []) await plugNic(machine.qmp, ports.shift()!, nic);
  timings.loadMs = performance.now() - loading;
  await machine.resume();
  const resumed = performance.now();
  const client = await machine.connect(entry.auth, agentTimeoutMs, signal);
  machine.info.kernel = client.agent.kernel;
  timings.helloMs = performance.now() - resumed;
  await machine.personalize(signal);
  timings.identityMs = performance.now() - resumed - timings.helloMs;
  failed.move(); // the caller's from here on
  return machine;
}
