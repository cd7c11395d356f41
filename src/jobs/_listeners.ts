import { procStat } from "../host/mod.ts";
import type { PortOwner } from "./service_types.ts";

/** A listening TCP socket, from `/proc/net/tcp` or `/proc/net/tcp6`. */
export interface Listener {
  port: number;
  inode: string;
}

const LISTEN = "0A";

/** Reads the listening sockets out of `/proc/net/tcp` or `/proc/net/tcp6`. */
export function parseListeners(text: string): Listener[] {
  return text.split("\n").slice(1).flatMap((line) => {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    if (state !== LISTEN || !local || !inode) return [];
    return [{ port: parseInt(local.split(":").at(-1)!, 16), inode }];
  });
}

/** Listening sockets on a port, of the network namespace of this process. */
export async function listenersOn(port: number): Promise<Listener[]> {
  const tables = await Promise.all(["tcp", "tcp6"].map(async (name) => {
    try {
      return parseListeners(await Deno.readTextFile(`/proc/net/${name}`));
    } catch {
      return []; // No IPv6, or no /proc: then there is nothing to be seen.
    }
  }));
  return tables.flat().filter((listener) => listener.port === port);
}

/** The processes that hold one of these sockets; those of other users cannot be seen. */
export async function ownersOf(listeners: Listener[]): Promise<PortOwner[]> {
  if (listeners.length === 0) return [];
  const wanted = new Set(listeners.map(({ inode }) => `socket:[${inode}]`));
  const pids: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (/^\d+$/.test(name)) pids.push(Number(name));
  }
  const owners: PortOwner[] = [];
  for (const pid of pids) {
    if (!holdsOne(pid, wanted)) continue;
    const stat = await procStat(pid);
    if (stat) {
      owners.push({ pid, pgid: stat.pgid, command: await commandLine(pid) ?? stat.command });
    }
  }
  return owners;
}

/** Synchronous on purpose: thousands of links that wait for a thread each take seconds on a busy machine, and so 10 ms. */
function holdsOne(pid: number, wanted: Set<string>): boolean {
  try {
    for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
      if (wanted.has(linkTarget(`/proc/${pid}/fd/${name}`))) return true;
    }
  } catch {
    // It ended, or belongs to somebody else.
  }
  return false;
}

function linkTarget(path: string): string {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return ""; // Closed meanwhile.
  }
}

async function commandLine(pid: number): Promise<string | undefined> {
  try {
    const text = await Deno.readTextFile(`/proc/${pid}/cmdline`);
    return text.replace(/\0+$/, "").replaceAll("\0", " ") || undefined;
  } catch {
    return undefined; // It ended.
  }
}
