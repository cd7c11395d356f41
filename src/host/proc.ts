import { sharedLook } from "./_shared_look.ts";

/** What `/proc/<pid>/stat` tells. */
export interface ProcStat {
  pid: number;
  /** Name of the program, at most 15 bytes; it may hold any character. */
  command: string;
  /** `R`, `S`, `D`, `T`, `Z`, … as proc(5) lists them. */
  state: string;
  ppid: number;
  /** Process group. */
  pgid: number;
  sid: number;
  /** When it was started, in clock ticks since boot: with the pid it names one process for ever. */
  startTicks: number;
}

/** Reads the text of `/proc/<pid>/stat`. */
export function parseProcStat(text: string): ProcStat {
  // The name is in parentheses and may itself hold blanks and parentheses: the last one ends it.
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  const fields = text.slice(close + 2).trimEnd().split(" ");
  const number = (index: number) => Number(fields[index]);
  const stat = {
    pid: Number(text.slice(0, open - 1)),
    command: text.slice(open + 1, close),
    state: fields[0] ?? "",
    ppid: number(1),
    pgid: number(2),
    sid: number(3),
    startTicks: number(19),
  };
  if (open < 0 || close < open || !Number.isSafeInteger(stat.startTicks)) {
    throw new SyntaxError(`Cannot read process state ${JSON.stringify(text.slice(0, 200))}`);
  }
  return stat;
}

/** Returns what the system knows of a process, `undefined` if there is none. */
export async function procStat(pid: number): Promise<ProcStat | undefined> {
  const text = await readProc(`/proc/${pid}/stat`);
  return text === undefined ? undefined : parseProcStat(text);
}

/** Returns every process that can be seen. */
export const processes: () => Promise<ProcStat[]> = sharedLook(async () => {
  const found = await Promise.all((await pids()).map(procStat));
  return found.filter((stat) => stat !== undefined);
});

/** Whether a process still runs something: zombies only wait to be reaped. */
export function isLive(stat: ProcStat): boolean {
  return stat.state !== "Z" && stat.state !== "X" && stat.state !== "x";
}

/** Returns the live members of a process group. `kill(-pgid, 0)` cannot tell: it succeeds on zombies. */
export async function groupMembers(pgid: number): Promise<ProcStat[]> {
  return (await processes()).filter((stat) => stat.pgid === pgid && isLive(stat));
}

/** Name of the environment variable that marks what a run started. */
export const TOKEN_VARIABLE = "BELLJAR_TOKEN";

/**
 * Returns the live processes, other than the caller, that were started with `value` in the environment variable `name`,
 * and their descendants.
 */
export async function processesWithToken(
  value: string,
  name: string = TOKEN_VARIABLE,
): Promise<ProcStat[]> {
  const entry = `\0${name}=${value}\0`;
  const marked = (await environments()).filter(({ environ }) => environ.includes(entry));
  return marked.map(({ stat }) => stat);
}

/** How often, and after how long, a process is looked at again that is about to become a program. */
const EXEC_LOOKS = { tries: 100, everyMs: 1 };
/** An environment that is empty so often is so; at first it is for a moment, before it is filled. */
const EMPTY_LOOKS = 5;

/** All other processes whose environments can be read, with those. */
const environments = sharedLook(async () => {
  const others = (await pids()).filter((pid) => pid !== Deno.pid);
  const found = await Promise.all(others.map(readEnviron));
  return found.filter((one) => one !== undefined);
});

/**
 * Reads an environment whole. In the middle of an execve there is none for a moment, or only the beginning of the one before:
 * that must not hide whose process it is.
 */
async function readEnviron(pid: number): Promise<{ stat: ProcStat; environ: string } | undefined> {
  for (let tries = 0; tries < EXEC_LOOKS.tries; tries++) {
    const bytes = await readProc(`/proc/${pid}/environ`, Deno.readFile);
    const text = bytes && await readProc(`/proc/${pid}/stat`);
    if (!text) return undefined;
    const fields = text.slice(text.lastIndexOf(")") + 2).trimEnd().split(" ");
    const [memory, start, end] = [20, 47, 48].map((index) => Number(fields[index]));
    const stat = parseProcStat(text);
    // Without memory of its own it is a zombie, or a thread of the kernel.
    if (!isLive(stat) || memory === 0) return undefined;
    const isFilled = bytes.length > 0 || tries >= EMPTY_LOOKS;
    if (end !== 0 && isFilled && bytes.length === end! - start!) {
      return { stat, environ: `\0${new TextDecoder().decode(bytes)}\0` };
    }
    await new Promise((resolve) => setTimeout(resolve, EXEC_LOOKS.everyMs));
  }
  return undefined;
}

/** Memory of a process. */
export interface ProcessMemory {
  /** Its own pages, and its share of those that others have as well: what its end would give back, about. */
  pssBytes: number;
  /** All pages that it has. */
  rssBytes: number;
  /** Pages that nobody else has and that no file holds. */
  anonymousBytes: number;
}

/** Returns how much memory a process uses, `undefined` if there is none or it belongs to somebody else. */
export async function processMemory(pid: number): Promise<ProcessMemory | undefined> {
  const text = await readProc(`/proc/${pid}/smaps_rollup`);
  if (!text) return undefined; // empty for a zombie
  const bytes = (name: string) => {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text);
    return match ? Number(match[1]) * 1024 : 0;
  };
  return { pssBytes: bytes("Pss"), rssBytes: bytes("Rss"), anonymousBytes: bytes("Anonymous") };
}

async function pids(): Promise<number[]> {
  const found: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    const pid = Number(name);
    if (Number.isInteger(pid)) found.push(pid);
  }
  return found;
}

/** A process may end, or belong to somebody else, at any moment: both count as "nothing to read". */
async function readProc<T = string>(
  path: string,
  read: (path: string) => Promise<T> = Deno.readTextFile as never,
): Promise<T | undefined> {
  try {
    return await read(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof Deno.errors.PermissionDenied) return undefined;
    if (error instanceof Deno.errors.NotCapable) throw error;
    if ((error as { code?: string }).code === "ESRCH") return undefined;
    if (/os error 3\b/.test(String(error))) return undefined;
    throw error;
  }
}
