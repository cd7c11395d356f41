import { bindToScope, currentScope, type Registration, type Scope } from "../scope/mod.ts";
import { TextWindow } from "./_text.ts";
import { plainText, visible } from "./_text.ts";
import { type ConsoleFindingKind, ConsoleRuleError } from "./errors.ts";

/** What the kernel writes when something is wrong that no test should pass over. */
const RULES: readonly { kind: ConsoleFindingKind; pattern: RegExp; says: string }[] = [
  { kind: "panic", pattern: /Kernel panic - not syncing/, says: "the kernel panicked" },
  {
    kind: "kasan",
    pattern: /BUG: K(?:A|M|C)SAN: |BUG: KFENCE: |\bUBSAN: /,
    says: "a sanitizer of the kernel found an error",
  },
  {
    kind: "lockdep",
    pattern:
      /WARNING: possible (?:circular locking|recursive locking|irq lock inversion)|WARNING: inconsistent lock state|WARNING: suspicious RCU usage|BUG: sleeping function called from invalid context|BUG: scheduling while atomic/,
    says: "the kernel found an error in its locking",
  },
  {
    kind: "oops",
    pattern:
      /BUG: unable to handle|BUG: kernel NULL pointer|kernel BUG at |Unable to handle kernel |Internal error: Oops|\bOops: [0-9a-f]{4}|general protection fault, (?:probably|maybe) /,
    says: "the kernel crashed in a task",
  },
  {
    kind: "oom",
    pattern: /Out of memory: Kill(?:ed)? process|Memory cgroup out of memory: Kill/,
    says: "the kernel ran out of memory and killed a process",
  },
  {
    kind: "readOnlyRemount",
    pattern: /[Rr]emounting filesystem read-only|remounting read-only/,
    says: "the kernel remounted a file system read-only",
  },
];

/** A complaint of the kernel that nobody allowed. */
export type ConsoleFindingListener = (error: ConsoleRuleError) => void;

/** Complaints of one kind that follow each other within this time are one, in milliseconds. */
const SAME_MS = 1_000;

interface Allowance {
  pattern: string | RegExp;
  reason: string;
  scope: Scope;
}

const allowances = new Set<Allowance>();
const listeners = new Set<ConsoleFindingListener>();

/**
 * Lets complaints of the kernel that match pass until the scope of the caller ends: they neither end waits nor fail the
 * test.
 *
 * @param pattern Tested against the line of the console.
 * @param reason Why this is expected; shown in reports.
 */
export function allowConsole(pattern: string | RegExp, reason: string): Registration {
  if (!(pattern instanceof RegExp) && (typeof pattern !== "string" || pattern === "")) {
    throw new TypeError(`allowConsole() takes a string or a RegExp, got ${typeof pattern}`);
  }
  if (typeof reason !== "string" || reason === "") {
    throw new TypeError("allowConsole() takes the reason as second argument, a text");
  }
  const scope = currentScope();
  const allowance = { pattern, reason, scope };
  allowances.add(allowance);
  return scope.register({
    kind: "console rule",
    name: String(pattern),
    close: () => void allowances.delete(allowance),
  });
}

/** Calls `listener` with every complaint that nobody allowed, until the returned function is called. */
export function onConsoleFinding(listener: ConsoleFindingListener): () => void {
  const bound = bindToScope(listener);
  listeners.add(bound);
  return () => listeners.delete(bound);
}

/** Reads a console's bytes line by line and reports what the rules find. */
export class ConsoleScanner {
  readonly #vm: string;
  readonly #onFinding: (error: ConsoleRuleError) => void;
  readonly #window = new TextWindow();
  #found = new Set<string>();
  #lastMs = new Map<ConsoleFindingKind, number>();

  constructor(vm: string, onFinding: (error: ConsoleRuleError) => void) {
    this.#vm = vm;
    this.#onFinding = onFinding;
  }

  /** Takes the console's next bytes. */
  push(data: Uint8Array): void {
    this.#window.push(data);
    const { text } = this.#window;
    const end = text.lastIndexOf("\n") + 1;
    if (end > 0) {
      this.#window.takeText(end);
      for (const line of text.slice(0, end).split("\n")) this.scan(line);
    }
    // A line without end, however long, cannot grow without limit.
    if (this.#window.size > 64 * 1024) this.#window.takeBytes(this.#window.size - 1024);
  }

  /** Looks at a whole line; the same line of console and kernel log counts once. */
  scan(raw: string): void {
    const rule = RULES.find(({ pattern }) => pattern.test(raw));
    if (!rule) return;
    const line = visible(plainText(raw).trim()).slice(0, 500);
    const key = line.replace(/^(?:<\d+>)?\[\s*[\d.]+\]\s*(?:\[\s*[TC]\d+\]\s*)?/, "");
    if (this.#found.has(key) || isAllowed(line)) return;
    this.#found.add(key);
    // A crash is told in several lines, and by console and log: one complaint.
    const now = performance.now();
    const last = this.#lastMs.get(rule.kind) ?? -Infinity;
    this.#lastMs.set(rule.kind, now);
    if (now - last < SAME_MS) return;
    const error = new ConsoleRuleError(`Machine "${this.#vm}" is not sound: ${rule.says}`, {
      vm: this.#vm,
      kind: rule.kind,
      line,
      actual: line,
      next: `if the test means it, say so before: t.allowConsole(/…/, "why")`,
    });
    this.#onFinding(error);
    for (const listener of [...listeners]) listener(error);
  }

  /** Forgets what it found, because the machine starts anew. */
  restart(): void {
    this.#found = new Set();
    this.#lastMs = new Map();
  }
}

function isAllowed(line: string): boolean {
  return [...allowances].some(({ pattern }) =>
    typeof pattern === "string"
      ? line.includes(pattern)
      : new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, "")).test(line)
  );
}
