import { statfs } from "node:fs/promises";

/** What this host, or the container around the harness, has to give. */
export interface HostLimits {
  /** Memory that may be used in all: the least of the machine's and the control groups' limits. */
  memoryBytes: number;
  /** Memory that is free now, within the same limits. */
  memoryAvailableBytes: number;
  /** What sets `memoryBytes`: `"machine"`, or the path of the control group's file. */
  memoryFrom: string;
  /** Processors that may be used; fractional under a CPU quota. */
  cores: number;
}

/** Returns what may be used on this host: a control group's limits count if they are lower. */
export async function hostLimits(): Promise<HostLimits> {
  const meminfo = await Deno.readTextFile("/proc/meminfo");
  const kib = (name: string) => {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(meminfo);
    return match ? Number(match[1]) * 1024 : 0;
  };
  const limits: HostLimits = {
    memoryBytes: kib("MemTotal"),
    memoryAvailableBytes: kib("MemAvailable"),
    memoryFrom: "machine",
    cores: navigator.hardwareConcurrency,
  };
  for (const dir of controlGroupDirs(await readText("/proc/self/cgroup") ?? "")) {
    const max = await readNumber(`${dir.path}/${dir.memoryMax}`);
    if (max !== undefined && max < limits.memoryBytes) {
      limits.memoryBytes = max;
      limits.memoryFrom = `${dir.path}/${dir.memoryMax}`;
      const used = await readNumber(`${dir.path}/${dir.memoryUsed}`) ?? 0;
      limits.memoryAvailableBytes = Math.min(
        limits.memoryAvailableBytes,
        Math.max(0, max - used),
      );
    }
    const quota = parseCpuMax(await readText(`${dir.path}/cpu.max`) ?? "");
    if (quota !== undefined) limits.cores = Math.min(limits.cores, quota);
  }
  return limits;
}

interface GroupDir {
  path: string;
  memoryMax: string;
  memoryUsed: string;
}

/** The folders whose limits hold for this process, from the text of `/proc/self/cgroup`: its own and all above it. */
export function controlGroupDirs(text: string): GroupDir[] {
  const dirs: GroupDir[] = [];
  for (const line of text.split("\n")) {
    const [id, controllers, path] = line.split(":");
    if (path === undefined) continue;
    const isV2 = id === "0" && controllers === "";
    if (!isV2 && !controllers?.split(",").includes("memory")) continue;
    const root = isV2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    const names = isV2
      ? { memoryMax: "memory.max", memoryUsed: "memory.current" }
      : { memoryMax: "memory.limit_in_bytes", memoryUsed: "memory.usage_in_bytes" };
    const parts = path.split("/").filter(Boolean);
    for (let depth = parts.length; depth >= 0; depth--) {
      dirs.push({ path: [root, ...parts.slice(0, depth)].join("/"), ...names });
    }
  }
  return dirs;
}

/** Processors that `cpu.max` allows, `undefined` without a limit. */
export function parseCpuMax(text: string): number | undefined {
  const [quota, period] = text.trim().split(" ").map(Number);
  if (!quota || !period || !Number.isFinite(quota / period)) return undefined;
  return quota / period;
}

/** Bytes that an ordinary user can still write on the file system at `path`, and its size. */
export async function freeSpace(path: string): Promise<{ freeBytes: number; sizeBytes: number }> {
  const { bavail, blocks, bsize } = await statfs(path);
  return { freeBytes: bavail * bsize, sizeBytes: blocks * bsize };
}

async function readNumber(path: string): Promise<number | undefined> {
  const value = Number((await readText(path))?.trim() || NaN);
  return Number.isFinite(value) ? value : undefined;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch {
    return undefined; // no such control group, or a kernel without them: there is no limit then
  }
}
