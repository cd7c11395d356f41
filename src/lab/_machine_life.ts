import { AgentLostError, BelljarError, StateError } from "../errors.ts";
import { emitEvent, runScope } from "../scope/mod.ts";
import type { Machine, MachineEnd } from "../vmm/mod.ts";
import type { AgentClient } from "../wire/mod.ts";
import type { Console } from "./console.ts";
import { ConsoleScanner } from "./console_rules.ts";
import type { ConsoleRuleError } from "./errors.ts";
import type { ResourceGrant } from "./providers.ts";
import { deadlineIn, race } from "./wait.ts";

/** Where a machine stands. */
export type VmState = "created" | "booting" | "booted" | "paused" | "shutdown" | "dead";

/** What events tell of a machine besides what the monitor knows. */
export interface MachineFacts {
  image: string;
  memoryBytes: number;
  /** Called with every new conversation with its agent. */
  onAgent: (client: AgentClient) => void;
}

/** How long the cause of a lost agent may take to show, in milliseconds. */
const CAUSE_MS = 1_500;
/** Kernel messages up to this level are looked at: warnings, as lock errors are. */
const KMSG_WARNING = 4;

/** The life of one named machine: what runs it now, its state, and how it ended. */
export class MachineLife {
  readonly name: string;
  readonly console: Console;
  /** Why it is being ended, when the harness does it. */
  endReason: string | undefined;
  readonly #facts: MachineFacts;
  readonly #scanner: ConsoleScanner;
  #state: VmState = "created";
  #machine: Machine | undefined;
  #grant: ResourceGrant | undefined;
  #end: MachineEnd | undefined;
  #alarm = new AbortController();
  #finding: ConsoleRuleError | undefined;
  #startedMs = 0;
  #hadAgent = false;
  /** Resolves when the agent is there again, after its loss. */
  #back = Promise.withResolvers<void>();

  constructor(name: string, console: Console, facts: MachineFacts) {
    this.name = name;
    this.console = console;
    this.#facts = facts;
    this.#scanner = new ConsoleScanner(name, (error) => this.#onFinding(error));
  }

  get state(): VmState {
    return this.#state;
  }

  /** What runs it, or ran it last. */
  get machine(): Machine | undefined {
    return this.#machine;
  }

  /** How it ended, if it has. */
  get end(): MachineEnd | undefined {
    return this.#end;
  }

  /** Aborts when waiting for it has become pointless. */
  get alarm(): AbortSignal {
    return this.#alarm.signal;
  }

  /** Starts it by `launch`, and holds `grant` until it ends. On failure the state is what it was. */
  async start(
    launch: () => Promise<Machine>,
    grant: () => Promise<ResourceGrant>,
  ): Promise<void> {
    const before = this.#state;
    this.#state = "booting";
    let granted: ResourceGrant | undefined;
    try {
      granted = await grant();
      this.#startedMs = performance.now();
      // The machine's loops outlive the test that booted it.
      const machine = await runScope().run(launch);
      this.#grant = granted;
      if (machine.info.how === "clone") granted.isClone?.(machine.info.pid);
      this.#adopt(machine);
    } catch (error) {
      granted?.release();
      this.#state = before;
      throw error;
    }
  }

  /** Ends what runs it, by the given means, and waits for that. */
  async stop(reason: string, by: (machine: Machine) => PromiseLike<void>): Promise<void> {
    const machine = this.#machine;
    if (!machine || this.#end) return;
    this.endReason ??= reason;
    await by(machine);
    this.#onEnd(machine, await machine.ended);
  }

  /** Says that it never will be started. */
  abandon(state: "shutdown" | "dead"): void {
    if (this.#state === "created") this.#state = state;
  }

  /** Says that it is as if it never had been started: it has ended, or never was. */
  renew(): void {
    this.#machine = this.#end = undefined;
    this.#state = "created";
  }

  /** Changes between booted and paused. */
  markPaused(paused: boolean): void {
    if (paused && this.#state === "booted") this.#state = "paused";
    else if (!paused && this.#state === "paused") this.#state = "booted";
  }

  /** Says that its kernel starts anew: complaints of the one before do not count for it. */
  restarted(): void {
    this.#scanner.restart();
    this.#finding = undefined;
    this.markPaused(false);
  }

  /** The conversation with its agent; throws an error that says what to do where there is none. */
  client(op: string): AgentClient {
    if (this.#state === "paused") throw this.stateError(op, "resume() it first");
    const { client } = this.running(op);
    if (client?.lost) throw client.lost;
    if (client) return client;
    const [why, next] = this.#hadAgent
      ? [
        "its agent is being started anew",
        'wait for it: vm.waitUntil(() => vm.exists("/"), { retryErrors: true })',
      ]
      : ["it was booted without its agent", `boot it with expect: "agent", or use vm.console`];
    throw new StateError(`Cannot ${op} on machine "${this.name}": ${why}`, { next });
  }

  /** What runs it; throws an error that says what to do if nothing does. */
  running(op: string): Machine {
    const runs = this.#state === "booted" || this.#state === "paused";
    if (this.#machine && runs) return this.#machine;
    throw this.stateError(op, this.#nextStep());
  }

  /** That an operation cannot be done in this state. */
  stateError(op: string, next: string): StateError {
    const why = this.#end?.detail ? ` (${this.#end.reason}: ${this.#end.detail})` : "";
    return new StateError(`Cannot ${op} on machine "${this.name}": it is ${this.#state}${why}`, {
      next,
    });
  }

  /** Says why the agent was lost, once that is known. */
  async explain(error: unknown): Promise<unknown> {
    const machine = this.#machine;
    const lost = error instanceof AgentLostError ||
      (error instanceof BelljarError && error.cause instanceof AgentLostError);
    if (!machine || !lost) return error;
    // The connection's end is often known before the cause of it. An agent that is back was the cause itself.
    const isBack = machine.client && !machine.client.lost;
    if (!this.#end && !isBack) {
      await race(Promise.race([machine.ended, this.#back.promise]), deadlineIn(CAUSE_MS));
    }
    return this.#finding?.kind === "panic" ? this.#finding : error;
  }

  #adopt(machine: Machine): void {
    this.#machine = machine;
    this.#end = undefined;
    this.endReason = undefined;
    this.#finding = undefined;
    this.#state = "booted";
    this.#hadAgent = machine.client !== undefined;
    const { console, info } = machine;
    this.#scanner.restart();
    this.#scanner.push(console.bytes());
    console.onData((data) => this.#machine === machine && this.#scanner.push(data));
    this.console.attach(console);
    const greet = (client: AgentClient) => {
      this.#watchKernel(client);
      this.#facts.onAgent(client);
      this.#back.resolve();
      this.#back = Promise.withResolvers();
    };
    machine.onAgent(greet);
    if (machine.client) greet(machine.client);
    machine.ended.then((end) => this.#onEnd(machine, end));
    const { image, memoryBytes: memory } = this.#facts;
    const { how, howWhy, transport, transportWhy, cid, accel, accelWhy, pid, kernel, timings } =
      info;
    const why = { howWhy, transportWhy, accelWhy };
    emitEvent("vm_started", {
      ...{ vm: this.name, image, how, transport, cid, accel, memory, pid, kernel, timings },
      consolePath: console.path,
      ...why,
    });
  }

  /** The console is quiet below errors; warnings come from the kernel's log. */
  #watchKernel(client: AgentClient): void {
    client.on(0, (event) => {
      if (event.ev === "kmsg") this.#scanner.scan(new TextDecoder().decode(event.text));
    });
    client.request("kmsg", { level: KMSG_WARNING }).catch(() => {}); // The rules see the console all the same.
  }

  #onEnd(machine: Machine, end: MachineEnd): void {
    if (this.#machine !== machine || this.#end) return;
    this.#end = end;
    const orderly = this.endReason === "shutdown" || end.reason === "guestPoweroff";
    this.#state = orderly ? "shutdown" : "dead";
    machine.console.ended.then(() => this.#machine === machine && this.console.finish());
    this.#grant?.release();
    this.#grant = undefined;
    emitEvent("vm_stopped", {
      vm: this.name,
      reason: this.endReason ?? end.reason,
      ...(end.detail === undefined ? {} : { detail: end.detail }),
      durationMs: performance.now() - this.#startedMs,
    });
  }

  #onFinding(error: ConsoleRuleError): void {
    this.#finding = error;
    const alarm = this.#alarm;
    // Later operations, such as the closing of the scope, must not end at once.
    this.#alarm = new AbortController();
    emitEvent("warning", { message: error.summary, vm: this.name, line: error.line });
    alarm.abort(error);
  }

  #nextStep(): string {
    if (this.#state === "created") return "boot() it first";
    if (this.#state === "booting") return "await boot() first";
    return "create and boot another machine by lab.vm()";
  }
}
