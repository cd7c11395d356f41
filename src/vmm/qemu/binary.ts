import { HostError } from "../../errors.ts";
import { cacheDir } from "../../host/mod.ts";
import { sha256Hex } from "../_hash.ts";
import { readJson, writeJson } from "../_json_file.ts";

/** The oldest version whose machines are known to work: `-netdev stream` came with it. */
export const OLDEST_QEMU = "7.2.0";

/** A QEMU program. */
export interface QemuBinary {
  path: string;
  version: string;
}

const known = new Map<string, Promise<QemuBinary>>();

/**
 * Finds QEMU: what `BELLJAR_QEMU` names, else `qemu-system-x86_64` on PATH.
 *
 * @throws {HostError} If there is none, it does not run, or it is too old.
 */
export async function findQemu(options: { path?: string } = {}): Promise<QemuBinary> {
  const name = options.path ?? Deno.env.get("BELLJAR_QEMU") ?? "qemu-system-x86_64";
  const path = await resolveCommand(name);
  if (path === undefined) throw missing(name);
  const info = await Deno.stat(path);
  // An upgrade under a running harness is another program.
  const key = `${path} ${info.ino} ${info.size} ${info.mtime?.getTime()}`;
  let found = known.get(key);
  if (!found) {
    found = recall(path, key);
    known.set(key, found);
    found.catch(() => known.delete(key)); // the caller has the error; the next call looks again
  }
  return await found;
}

/** Asking a program for its version takes as long as starting a clone: what was found is kept for other processes. */
async function recall(path: string, key: string): Promise<QemuBinary> {
  const kept = `${await cacheDir()}/qemu-${(await sha256Hex(key)).slice(0, 16)}.json`;
  const { version } = await readJson<QemuBinary>(kept) ?? {};
  if (typeof version === "string" && compareVersions(version, OLDEST_QEMU) >= 0) {
    return { path, version };
  }
  const found = await identify(path);
  await writeJson(kept, found);
  return found;
}

async function identify(path: string): Promise<QemuBinary> {
  const { stdout, stderr, success } = await new Deno.Command(path, {
    args: ["--version"],
    stdin: "null",
  }).output().catch((cause) => {
    throw new HostError(`Cannot start QEMU "${path}"`, {
      code: "QEMU_BROKEN",
      actual: cause instanceof Error ? cause.message : String(cause),
      next: "install QEMU again, or set BELLJAR_QEMU to one that runs",
      cause,
    });
  });
  const text = new TextDecoder().decode(stdout);
  const version = /version (\d+\.\d+(?:\.\d+)?)/.exec(text)?.[1];
  if (!success || version === undefined) {
    const shown = (text + new TextDecoder().decode(stderr)).trim().split("\n")[0];
    throw new HostError(`Cannot use "${path}" as QEMU`, {
      code: "QEMU_BROKEN",
      expected: `"QEMU emulator version …" from "${path} --version"`,
      actual: shown || "no output",
      next: "install QEMU again, or set BELLJAR_QEMU to one that runs",
    });
  }
  if (compareVersions(version, OLDEST_QEMU) < 0) {
    throw new HostError(`Cannot use QEMU ${version} at "${path}": it is too old`, {
      code: "QEMU_TOO_OLD",
      expected: `QEMU ${OLDEST_QEMU} or later`,
      actual: version,
      next: "install a later QEMU, or set BELLJAR_QEMU to one",
    });
  }
  return { path, version };
}

/** Orders versions by their numbers. */
export function compareVersions(a: string, b: string): number {
  const left = a.split(".").map(Number);
  const right = b.split(".").map(Number);
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  return 0;
}

async function resolveCommand(name: string): Promise<string | undefined> {
  const candidates = name.includes("/")
    ? [name]
    : (Deno.env.get("PATH") ?? "").split(":").filter(Boolean).map((dir) => `${dir}/${name}`);
  for (const path of candidates) {
    const info = await Deno.stat(path).catch(() => undefined); // not there: the next one
    if (info?.isFile && ((info.mode ?? 0) & 0o111) !== 0) return path;
  }
  return undefined;
}

function missing(name: string): HostError {
  return new HostError(`Cannot find QEMU: there is no program "${name}"`, {
    code: "QEMU_MISSING",
    expected: name.includes("/") ? "an executable file" : `"${name}" on PATH`,
    next: "install it (Debian, Ubuntu: apt-get install qemu-system-x86), or set BELLJAR_QEMU",
  });
}
