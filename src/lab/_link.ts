import { AgentLostError, BelljarError } from "../errors.ts";
import { authorFrame, currentSignal, timeScale, trackOperation } from "../scope/mod.ts";
import type { AgentClient, OpName, OpReply, OpRequest } from "../wire/mod.ts";

/** How the operations of a machine or a worker reach the guest. */
export interface GuestLink {
  /** Name of the machine. */
  readonly vm: string;
  /** 0 for the machine itself, else the worker's number. */
  readonly principal: number;
  /** What errors call it: `machine "db"` or `worker 3 of machine "db"`. */
  readonly label: string;
  /** The conversation with the agent; throws a StateError that names the operation where there is none. */
  client(op: string): AgentClient;
  /** Aborts when waiting for the machine has become pointless, with the reason. */
  alarm(): AbortSignal;
  /** Says more about why an operation failed, once that is known: the machine's end, a panic. */
  explain(error: unknown): Promise<unknown>;
  /** What is open in the guest for the harness' sake and would not survive a snapshot. */
  readonly open: OpenResources;
}

/** Streams and files of a machine that are open, with where they were created. */
export type OpenResources = Set<{ kind: string; name: string; site: string }>;

/** Options that every operation takes. */
export interface OperationOptions {
  /** Ends the operation early; the call rejects with its reason. */
  signal?: AbortSignal;
}

const links = new WeakMap<object, GuestLink>();

/** Gives a machine or worker its link. */
export function setLink(target: object, link: GuestLink): void {
  links.set(target, link);
}

/** The link of a machine or worker. */
export function linkOf(target: object): GuestLink {
  const link = links.get(target);
  if (!link) throw new TypeError("Cannot use an object that belljar did not make");
  return link;
}

/** Limits of operations in milliseconds, before the accelerator's factor. */
const QUICK_MS = 60_000;
const STREAMED_MS = 30 * 60_000;

/** How long an operation may take that moves no bulk data. */
export function quickLimitMs(): number {
  return QUICK_MS * timeScale();
}

/** How long an operation may take that moves files of any size. */
export function streamedLimitMs(): number {
  return STREAMED_MS * timeScale();
}

/**
 * Runs an operation under the author's signal, that of the test and the machine's alarm at once, tracked for reports.
 *
 * @param text The operation as the author wrote it, for reports.
 */
export async function operate<T>(
  link: GuestLink,
  op: string,
  text: string,
  signal: AbortSignal | undefined,
  fn: (client: AgentClient, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const client = link.client(op);
  return await observe(link, text, signal, (any) => fn(client, any));
}

/** As {@linkcode operate}, for waits that need no agent: what has ended can be looked at for ever. */
export async function observe<T>(
  link: GuestLink,
  text: string,
  signal: AbortSignal | undefined,
  fn: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  return await trackOperation({ op: text, vm: link.vm }, async () => {
    try {
      return await withSignals([signal, currentSignal(), link.alarm()], fn);
    } catch (error) {
      if (signal?.aborted && error === signal.reason) throw error;
      const explained = await link.explain(error);
      showAuthor(explained);
      throw explained;
    }
  });
}

/**
 * Gives an error that arose in the loop which reads the agent's answers the stack of its caller, so that reports show the
 * author's line.
 */
function showAuthor(error: unknown): void {
  // The loss of an agent is one error for many callers.
  if (!(error instanceof BelljarError) || error instanceof AgentLostError) return;
  if (authorFrame(error.stack ?? "")) return;
  const frames = new Error().stack?.split("\n").filter((line) => line.startsWith("    at ")) ?? [];
  error.stack = [`${error.name}: ${error.message}`, ...frames.slice(1)].join("\n");
}

/** One request as an operation. */
export async function ask<K extends OpName>(
  link: GuestLink,
  op: K,
  args: OpRequest<K>,
  options: { text: string; signal?: AbortSignal; timeoutMs?: number },
): Promise<OpReply<K>> {
  const { text, signal, timeoutMs = quickLimitMs() } = options;
  const { principal } = link;
  return await operate(
    link,
    op,
    text,
    signal,
    (client, any) => client.request(op, args, { principal, signal: any, timeoutMs }),
  );
}

/**
 * Runs `fn` under a signal that aborts with the first of several. Unlike `AbortSignal.any` it leaves nothing behind on
 * signals that live as long as the machine.
 */
export async function withSignals<T>(
  signals: readonly (AbortSignal | undefined)[],
  fn: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const active = signals.filter((signal) => signal !== undefined);
  for (const signal of active) signal.throwIfAborted();
  if (active.length === 1) return await fn(active[0]!);
  const controller = new AbortController();
  const removers = active.map((signal) => {
    const listener = () => controller.abort(signal.reason);
    signal.addEventListener("abort", listener, { once: true });
    return () => signal.removeEventListener("abort", listener);
  });
  try {
    return await fn(controller.signal);
  } finally {
    for (const remove of removers) remove();
  }
}
