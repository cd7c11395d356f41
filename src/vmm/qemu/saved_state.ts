import { StateError } from "../../errors.ts";
import { createRunDir, ensureOwnedDir, removeTree, sweepRuns } from "../../host/mod.ts";
import type { SavedState, SaveOptions } from "../types.ts";
import { SECRET_FIRMWARE_FILE } from "./boot_files.ts";
import type { QemuMachine } from "./machine.ts";
import { finalizeSave, loadState, saveState } from "./migrate.ts";
import { makeRamFile } from "./ram_file.ts";
import { copyDisks, restoreDisks, type SavedDisk } from "./saved_disks.ts";
import { type StartContext, startMachine } from "./start.ts";
import {
  ENTRY_FILES,
  readEntry,
  sealEntry,
  type StateEntry,
  type StateFacts,
  syncEntry,
} from "./state_entry.ts";
import { bytesOf } from "./template_store.ts";

/** What a saved machine was started with. */
export interface SaveSource {
  facts: Omit<StateFacts, "buildMs" | "kernelRelease" | "disks" | "nics" | "diskSize">;
  bootSecret: Uint8Array;
  /** Path of its initial RAM file system, if it has one. */
  initrd?: string;
  /** Path of the file by which the firmware hands over the secret, if it does. */
  firmwareSecret?: string;
}

/** The state of a machine, on disk. Machines can be started from it once it has settled. */
export class QemuSavedState implements SavedState {
  readonly timings = { saveMs: 0, settleMs: 0 };
  #path: string;
  /** Held while it is this process' own: a free one is left over from a dead process. */
  #lock: Disposable | undefined;
  #size = 0;
  #settling: Promise<StateEntry>;
  #stop: AbortController;
  #deleting: Promise<void> | undefined;

  constructor(
    path: string,
    lock: Disposable | undefined,
    settle: (state: QemuSavedState, signal: AbortSignal) => Promise<StateEntry>,
  ) {
    this.#path = path;
    this.#lock = lock;
    this.#stop = new AbortController();
    this.#settling = settle(this, this.#stop.signal).then(async (entry) => {
      this.#size = await bytesOf(path);
      return entry;
    });
    this.#settling.catch(() => {}); // entry() tells whoever wants to use it
  }

  get path(): string {
    return this.#path;
  }

  get size(): number {
    return this.#size;
  }

  async settled(): Promise<void> {
    await this.#settling;
  }

  /** What machines are started from. */
  entry(): Promise<StateEntry> {
    if (!this.#deleting) return this.#settling;
    return Promise.reject(
      new StateError(`Cannot use snapshot "${this.#path}": it was deleted`, {
        next: "take another one",
      }),
    );
  }

  delete(): Promise<void> {
    return this.#deleting ??= this.#delete();
  }

  async #delete(): Promise<void> {
    this.#stop.abort(new DOMException("The snapshot was deleted", "AbortError"));
    await this.#settling.catch(() => {}); // whether it failed or was ended here: it is over
    await removeTree(this.#path);
    this.#lock?.[Symbol.dispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.delete();
  }

  async moveTo(path: string): Promise<void> {
    const entry = await this.entry();
    await syncEntry(this.#path);
    await Deno.rename(this.#path, path);
    await removeTree(`${path}/lock`);
    this.#lock?.[Symbol.dispose]();
    this.#lock = undefined;
    this.#path = path;
    this.#settling = Promise.resolve({ ...entry, dir: path });
  }
}

/**
 * Saves a machine's state: everything that it has in memory, while it stands still, then off its path a state like a
 * template's from which clones start as quickly as from one.
 */
export async function saveMachine(
  context: StartContext,
  machine: QemuMachine,
  source: SaveSource,
  { root, signal }: SaveOptions & { root: string },
): Promise<QemuSavedState> {
  await sweepSnapshots(root);
  const { path: dir, lock } = await createRunDir(root);
  await using failed = new AsyncDisposableStack();
  failed.use(lock);
  failed.defer(() => removeTree(dir));
  await context.run.guardPath(dir);
  const began = performance.now();
  const full = `${dir}/full`;
  const kernelRelease = machine.info.kernel ?? "";
  let disks: SavedDisk[];
  const nics = machine.nics.map(({ id, mac, port }) => ({ id, mac, port }));
  await machine.quiesce(signal);
  const auth = machine.auth!;
  try {
    await machine.pause();
    await saveState(machine.qmp, full, {
      ignoreShared: false,
      dir: machine.dir,
      machine: machine.name,
      signal,
    });
    await finalizeSave(machine.qmp, signal);
    disks = await copyDisks(machine.disks, dir);
  } finally {
    // Whatever became of the save: the machine goes on, and its agent can be talked to again.
    await machine.wake(auth);
  }
  const saveMs = performance.now() - began;
  // Now, not while it settles: the state that this machine was started from may be deleted then.
  const { initrd, firmwareSecret } = source;
  if (initrd !== undefined) await linkOrCopy(initrd, `${dir}/${ENTRY_FILES.initrd}`);
  if (firmwareSecret !== undefined) {
    await linkOrCopy(firmwareSecret, `${dir}/${ENTRY_FILES.firmwareSecret}`);
  }
  const console = machine.console.bytes();
  const state = new QemuSavedState(dir, lock, async (self, stop) => {
    const settling = performance.now();
    self.timings.saveMs = saveMs;
    const facts = {
      ...source.facts,
      diskSize: undefined,
      disks,
      nics,
      kernelRelease,
      buildMs: Math.round(saveMs),
    };
    await settle(context, { ...source, facts }, { dir, full, signal: stop });
    await Deno.writeFile(`${dir}/${ENTRY_FILES.console}`, console, { mode: 0o600 });
    await sealEntry(dir, facts, { auth, bootSecret: source.bootSecret });
    self.timings.settleMs = performance.now() - settling;
    const entry = await readEntry(dir);
    if (entry && !("damage" in entry)) return entry;
    throw new StateError(`Cannot use snapshot "${dir}": ${entry?.damage ?? "it is gone"}`);
  });
  failed.move(); // the caller's from here on
  return state;
}

/** Removes states of harnesses that died together with their guard. */
export async function sweepSnapshots(root: string): Promise<string[]> {
  await ensureOwnedDir(root);
  return (await sweepRuns({ root })).map(({ dir }) => dir);
}

/** Turns a full state into one whose memory is a file: loaded once, never run, saved again without the memory. */
async function settle(
  context: StartContext,
  { facts, bootSecret }: SaveSource & { facts: StateFacts },
  { dir, full, signal }: { dir: string; full: string; signal: AbortSignal },
): Promise<void> {
  const ram = `${dir}/${ENTRY_FILES.ram}`;
  await makeRamFile(ram, facts.memoryBytes);
  await using machine = await startMachine(context, { name: "snapshot", signal }, {
    plan: async (own) => ({
      memoryBytes: facts.memoryBytes,
      cpus: facts.cpus,
      ram: { kind: "template", path: ram },
      kernel: facts.kernel,
      initrd: facts.hasInitrd ? `${dir}/${ENTRY_FILES.initrd}` : undefined,
      cmdline: facts.kernel === undefined ? undefined : facts.cmdline,
      disks: await restoreDisks(facts.disks ?? [], dir, own),
      nics: facts.nics ?? [],
      firmwareFiles: facts.hasFirmwareSecret
        ? [{ name: SECRET_FIRMWARE_FILE, path: `${dir}/${ENTRY_FILES.firmwareSecret}` }]
        : [],
      incoming: true,
    }),
    hasVsock: facts.vsock,
    transport: { transport: "serial", why: "it never runs", isWish: true },
    how: "clone",
    howWhy: "",
    bootSecret,
    agentTimeoutMs: 0,
  });
  const options = { dir: machine.dir, machine: machine.name, signal };
  await loadState(machine.qmp, full, { ...options, ignoreShared: false });
  await saveState(machine.qmp, `${dir}/${ENTRY_FILES.state}`, { ...options, ignoreShared: true });
  await machine.quit();
  await machine.console.remove();
  await Deno.remove(full);
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await Deno.link(from, to);
    return;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw originGone(from, error);
  }
  await Deno.copyFile(from, to); // another file system
}

function originGone(path: string, cause: unknown): StateError {
  return new StateError("Cannot save the machine: what it was started from was deleted", {
    actual: `"${path}" is gone`,
    next: "keep the snapshot until its clones are saved, or give templates a larger cap",
    cause,
  });
}
