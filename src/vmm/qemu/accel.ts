import { setTimeScale } from "../../scope/mod.ts";
import { cacheDir, ensureOwnedDir, type Run } from "../../host/mod.ts";
import { formatSeconds } from "../../values/duration.ts";
import type { Accelerator } from "../types.ts";
import { sha256Hex } from "../_hash.ts";
import { readJson, writeJson } from "../_json_file.ts";
import { collectText } from "../_collect_text.ts";
import { acceleratorArgs } from "./argv.ts";
import type { QemuBinary } from "./binary.ts";

/** Which accelerator machines get, and why. */
export interface AccelDecision {
  accel: Accelerator;
  /** One line for people. */
  why: string;
  /** Whether a kernel is known to have run with it; TCG always works. */
  proven: boolean;
}

/** Options for {@linkcode AcceleratorChooser}. */
export interface AcceleratorOptions {
  qemu: QemuBinary;
  run: () => Promise<Run>;
  /** @default {"/dev/kvm"} */
  kvmDevice?: string;
  /** Folder for verdicts; in the cache by default. */
  cache?: string;
}

interface Verdict {
  accel: Accelerator;
  why: string;
}

/** Longest wait for the agent of the first machine under KVM; a guest under KVM needs a tenth of it. */
export const FIRST_KVM_MS = 10_000;
const PROBE_MS = 2_000;
/** What `isa-debug-exit` makes of the 3 that the probe writes. */
const PROBE_EXIT = 7;
/** How long the same boot takes under hardware virtualisation, about. */
const NOMINAL_BOOT_MS = 500;
const TCG_SCALE = { least: 2, most: 20, unknown: 4 };

/**
 * Decides in two steps, since `/dev/kvm` may exist, open, and run a few instructions, and still not run a kernel: a probe
 * with the arguments of real machines, then the first real machine itself.
 */
export class AcceleratorChooser {
  readonly #options: AcceleratorOptions;
  #decision: Promise<AccelDecision> | undefined;

  constructor(options: AcceleratorOptions) {
    this.#options = options;
  }

  /**
   * Returns the accelerator to use.
   *
   * @param choice What the user asked for.
   * @param options `fresh` forgets what earlier processes found out.
   */
  async decide(
    choice: "auto" | Accelerator = "auto",
    options: { fresh?: boolean; signal?: AbortSignal } = {},
  ): Promise<AccelDecision> {
    if (options.fresh) {
      await Deno.remove(await this.#file("verdict")).catch(() => {}); // there was none
      this.#decision = undefined;
    }
    const decision = choice === "auto"
      ? await (this.#decision ??= this.#find().catch((error) => {
        this.#decision = undefined;
        throw error;
      }))
      : { accel: choice, why: "asked for", proven: true };
    setTimeScale(decision.accel === "kvm" ? 1 : await this.tcgScale());
    return decision;
  }

  /** Keeps that a machine under KVM has reached its agent. */
  async confirm(): Promise<void> {
    const why = "KVM runs kernels: the first machine reached its agent";
    await this.#keep({ accel: "kvm", why });
  }

  /** Keeps that KVM does not run kernels, and returns what to use instead. */
  async refute(what: string): Promise<AccelDecision> {
    const why = `KVM runs a boot sector here, but no kernel: ${what}`;
    await this.#keep({ accel: "tcg", why });
    setTimeScale(await this.tcgScale());
    return { accel: "tcg", why, proven: true };
  }

  /** How much slower machines are under TCG than with hardware; a guess until the first one has booted. */
  async tcgScale(): Promise<number> {
    const kept = await readJson<{ scale: number }>(await this.#file("tcg"));
    const scale = kept?.scale ?? NaN;
    return scale >= TCG_SCALE.least && scale <= TCG_SCALE.most ? scale : TCG_SCALE.unknown;
  }

  /** Tells how long a boot under TCG took, from QEMU's start to the agent; the first one counts. */
  async calibrate(bootMs: number): Promise<void> {
    const path = await this.#file("tcg");
    if (await readJson(path)) return;
    const raw = Math.round(10 * bootMs / NOMINAL_BOOT_MS) / 10;
    const scale = Math.min(TCG_SCALE.most, Math.max(TCG_SCALE.least, raw));
    await writeJson(path, { scale, bootMs: Math.round(bootMs) });
    setTimeScale(scale);
  }

  async #keep(verdict: Verdict): Promise<void> {
    this.#decision = Promise.resolve({ ...verdict, proven: true });
    await writeJson(await this.#file("verdict"), verdict);
  }

  async #find(): Promise<AccelDecision> {
    const kept = await readJson<Verdict>(await this.#file("verdict"));
    if (kept?.accel === "kvm" || kept?.accel === "tcg") {
      return { accel: kept.accel, why: String(kept.why), proven: true };
    }
    const obstacle = await this.#deviceObstacle() ?? await this.#probe();
    // A device that is missing now may be there tomorrow: only what was tried is kept.
    if (obstacle) return { accel: "tcg", why: obstacle, proven: true };
    return {
      accel: "kvm",
      why: "KVM runs a boot sector; the first machine will show whether it runs a kernel",
      proven: false,
    };
  }

  async #deviceObstacle(): Promise<string | undefined> {
    const device = this.#options.kvmDevice ?? "/dev/kvm";
    try {
      (await Deno.open(device, { read: true, write: true })).close();
      return undefined;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return `there is no ${device}`;
      const reason = error instanceof Error ? error.message : String(error);
      return `${device} cannot be opened: ${reason.split(":")[0]}`;
    }
  }

  async #probe(): Promise<string | undefined> {
    const { qemu, run: openRun } = this.#options;
    const run = await openRun();
    const dir = await run.machineDir();
    try {
      await Deno.writeFile(`${dir}/probe.bin`, probeFirmware());
      await using qemuProcess = await run.spawnGuarded(qemu.path, {
        args: [
          ..."-nodefaults -no-user-config -display none -no-reboot -m 16M".split(" "),
          ...acceleratorArgs("kvm"),
          ..."-device isa-debug-exit,iobase=0xf4,iosize=0x04 -bios".split(" "),
          `${dir}/probe.bin`,
        ],
        stdout: "null",
        stderr: "piped",
      });
      const stderr = collectText(qemuProcess.stderr);
      let hangs = false;
      const timer = setTimeout(() => {
        hangs = true;
        qemuProcess.kill();
      }, PROBE_MS);
      const status = await qemuProcess.status;
      clearTimeout(timer);
      if (status.code === PROBE_EXIT && !hangs) return undefined;
      await stderr.settled();
      const said = stderr.text().trim().split("\n").at(-1);
      const how = hangs
        ? `hung for ${formatSeconds(PROBE_MS / 1000)}`
        : status.signal
        ? `was ended by ${status.signal}`
        : `ended with code ${status.code} instead of ${PROBE_EXIT}`;
      const args = acceleratorArgs("kvm").join(" ");
      return `QEMU ${how} on a boot sector with ${args}${said ? ` ("${said}")` : ""}`;
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  }

  /** A file per boot of the host, QEMU and arguments: anything else may change the verdict. */
  async #file(kind: "verdict" | "tcg"): Promise<string> {
    const { qemu } = this.#options;
    const dir = this.#options.cache ?? `${await cacheDir()}/accel`;
    await ensureOwnedDir(dir);
    const bootId = await Deno.readTextFile("/proc/sys/kernel/random/boot_id").catch(() => "");
    const accel = kind === "tcg" ? "tcg" : "kvm";
    const key = [bootId.trim(), qemu.path, qemu.version, ...acceleratorArgs(accel)].join("\n");
    return `${dir}/${kind}-${(await sha256Hex(key)).slice(0, 24)}.json`;
  }
}

/** 64 KiB of firmware whose reset vector writes 3 to the port of `isa-debug-exit`, and halts. */
function probeFirmware(): Uint8Array<ArrayBuffer> {
  const image = new Uint8Array(64 * 1024);
  // mov al, 3; out 0xf4, al; hlt; jmp $-1
  image.set([0xb0, 0x03, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd], image.length - 16);
  return image;
}
