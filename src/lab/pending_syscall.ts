import { AgentLostError, DeadlineError, StateError } from "../errors.ts";
import { currentScope, type Registration, runScope } from "../scope/mod.ts";
import { type Duration, formatSeconds, registerOptions } from "../values/mod.ts";
import { type AgentClient, toText } from "../wire/mod.ts";
import { ask, type GuestLink, observe, type OperationOptions } from "./_link.ts";
import { limitMs } from "./stream.ts";
import { sys } from "./sys.ts";
import type { CallForm } from "./syscall_form.ts";
import { type SyscallResult, syscallResult } from "./syscall_result.ts";
import { deadlineIn, race, TIMED_OUT } from "./wait.ts";

/** How a call on a thread of its own stands. */
export type SyscallState = "running" | "blocked" | "done";

/** What a blocked call waits for. */
export interface SyscallWhere {
  state: SyscallState;
  /** System call that the thread sits in; `undefined` while it runs. */
  syscall?: string;
  /** Function of the kernel in which it sleeps, where the guest's kernel tells. */
  waitChannel: string;
}

const STATES = ["running", "blocked", "done"] as const;
const checkWait = registerOptions<OperationOptions>("call.wait()", { signal: "abortSignal" });

/** A system call on a thread of its own. It is cancelled with the scope of its caller. */
export class PendingSyscall implements AsyncDisposable {
  /** Name or number of the call. */
  readonly name: string;
  readonly #link: GuestLink;
  readonly #client: AgentClient;
  readonly #id: number;
  readonly #result = Promise.withResolvers<SyscallResult>();
  readonly #begun: Promise<unknown>;
  readonly #registration: Registration;
  #settled = false;
  #cancelled = false;

  constructor(link: GuestLink, form: CallForm) {
    this.#link = link;
    this.name = form.name;
    this.#client = link.client("syscallAsync");
    this.#id = this.#client.newId();
    this.#result.promise.catch(() => {}); // Nobody has to wait for it.
    this.#registration = currentScope().register({
      kind: "syscall",
      name: `${form.name} on ${link.label}`,
      close: () => this.cancel(),
      leaked: () => !this.#settled,
    });
    const off = this.#client.on(this.#id, (event) => {
      if (event.ev !== "syscall") return;
      off();
      this.#settle(() =>
        this.#result.resolve(syscallResult(event, { name: form.name, label: link.label }))
      );
    });
    this.#client.closed.then((reason) => this.#settle(() => this.#result.reject(reason)));
    const { nr, args, bufs, ptrs, nested, files } = form;
    this.#begun = runScope().run(() =>
      ask(link, "syscallAsync", { call: this.#id, nr, args, bufs, ptrs, nested, files }, {
        text: `syscallAsync(${form.name})`,
      })
    );
    this.#begun.catch((error) => {
      off();
      this.#settle(() => this.#result.reject(error));
    });
  }

  /** Whether it runs, is blocked in the kernel, or has returned. */
  async state(): Promise<SyscallState> {
    return (await this.where()).state;
  }

  /** What it is blocked in. */
  async where(): Promise<SyscallWhere> {
    await this.#begun;
    if (this.#settled) return { state: "done", waitChannel: "" };
    const reply = await ask(this.#link, "syscallState", { call: this.#id }, {
      text: `state(${this.name})`,
    });
    const syscall = reply.nr < 0
      ? undefined
      : sys.callName(reply.nr, this.#client.agent.arch) ?? String(reply.nr);
    return {
      state: STATES[reply.state] ?? "running",
      ...(syscall === undefined ? {} : { syscall }),
      waitChannel: toText(reply.wchan),
    };
  }

  /**
   * Waits for its return. Any number of waits may be made, at once and later.
   *
   * @param timeout Longest wait; without it there is no limit but the test's.
   * @throws {DeadlineError} If it does not return in time; it goes on.
   * @throws {StateError} If it was cancelled.
   */
  async wait(timeout?: Duration, options: OperationOptions = {}): Promise<SyscallResult> {
    checkWait(options);
    const ms = timeout === undefined ? Infinity : limitMs(timeout);
    const text = `wait(${this.name})`;
    return await observe(this.#link, text, options.signal, async (signal) => {
      const result = await race(this.#result.promise, deadlineIn(ms), signal);
      if (result !== TIMED_OUT) return result;
      throw new DeadlineError(
        `System call ${this.name} on ${this.#link.label} did not return within ${
          formatSeconds(ms / 1000)
        }`,
        { next: "look at its state(), or end it by cancel()" },
      );
    });
  }

  /** Ends it: a blocked call is interrupted. Harmless when it has returned. */
  async cancel(): Promise<void> {
    if (this.#cancelled || this.#settled) return;
    this.#cancelled = true;
    try {
      await this.#begun;
      await this.#client.request("syscallCancel", { call: this.#id }, {
        principal: this.#link.principal,
      });
    } catch (error) {
      // With the agent or the worker its threads are gone, and so is a call that never began.
      const { code } = error as { code?: string };
      if (!(error instanceof AgentLostError) && code !== "NOSUCHID" && code !== "WORKERGONE") {
        throw error;
      }
    }
    this.#settle(() =>
      this.#result.reject(
        new StateError(`System call ${this.name} on ${this.#link.label} was cancelled`),
      )
    );
  }

  /** Cancels it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.cancel();
  }

  #settle(action: () => void): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#registration.release();
    action();
  }
}
