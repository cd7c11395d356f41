import { DeadlineError, StateError } from "../errors.ts";
import {
  type ForwardOptions,
  type GroupOptions,
  guestPlace,
  jobs,
  type JobView,
  PortForward,
  type Service,
  type ServiceGroup,
  type ServicePlace,
  type ServiceSpec,
  startService,
  startServices,
} from "../jobs/mod.ts";
import {
  captureSite,
  currentScope,
  currentSignal,
  formatSite,
  runScope,
  type Site,
  timeScale,
  trackOperation,
} from "../scope/mod.ts";
import { type Duration, milliseconds, registerOptions } from "../values/mod.ts";
import { diskControl, type MachineInfo } from "../vmm/mod.ts";
import type { AgentClient, OpReply } from "../wire/mod.ts";
import {
  ask,
  linkOf,
  type OpenResources,
  type OperationOptions,
  setLink,
  withSignals,
} from "./_link.ts";
import { serveGuestBarriers } from "./_guest_barriers.ts";
import { MachineLife, type VmState } from "./_machine_life.ts";
import { checkDisk, type DiskOptions, diskSpec, hintFor } from "./boot_options.ts";
import { Disk } from "./disk.ts";
import type { Barriers } from "./barrier.ts";
import { Clock } from "./clock.ts";
import { Console } from "./console.ts";
import { GuestOperations } from "./operations.ts";
import { deadlineIn, race, TIMED_OUT } from "./wait.ts";
import { Worker } from "./worker.ts";
import type { WorkerOptions } from "./worker_options.ts";

/** What an agent counts of itself, by {@linkcode Vm.counters}. */
export type AgentCounters = OpReply<"counters">;

/** Options of {@linkcode Vm.shutdown}. */
export interface ShutdownOptions extends OperationOptions {
  /** How long the guest may take before it is ended from outside. @default {10} */
  timeout?: Duration;
}

const checkShutdown = registerOptions<ShutdownOptions>("vm.shutdown()", {
  timeout: "duration",
  signal: "abortSignal",
});
const signalOnly = (call: string) =>
  registerOptions<OperationOptions>(call, { signal: "abortSignal" });
const checkCounters = signalOnly("vm.counters()");
const checkReset = signalOnly("vm.reset()");

const MAX_WORKERS = 65535;
const DISK_LINKS = "/dev/disk/by-id";
/** How long a guest may take to find a disk that was plugged in, before the accelerator's factor. */
const DISK_MS = 30_000;

/** What can be done with a machine once it was started: its power, its services and workers. */
export abstract class MachineControls extends GuestOperations {
  readonly name: string;
  /** Name of its image. */
  readonly image: string;
  /** Its first serial console, from power-on, kept after it has ended. */
  readonly console: Console;
  /** Its clock. */
  readonly clock: Clock;
  /** Its jobs in the job table. */
  readonly jobs: JobView;
  /** State and what runs it. */
  protected readonly life: MachineLife;
  /** What is open in it for the harness' sake. */
  protected readonly openResources: OpenResources = new Set();
  readonly #place: ServicePlace;
  readonly #living = new Set<Worker>();
  #workers = 0;

  constructor(
    name: string,
    image: string,
    facts: { memoryBytes: number; barriers: Barriers },
  ) {
    super();
    this.name = name;
    this.image = image;
    this.console = new Console(name, () => life.alarm);
    const { memoryBytes, barriers } = facts;
    const onAgent = (client: AgentClient) =>
      void runScope().run(() => serveGuestBarriers(client, barriers)).catch(() => {}); // It has no barriers then.
    const life = new MachineLife(name, this.console, { image, memoryBytes, onAgent });
    this.life = life;
    this.clock = new Clock(this);
    this.jobs = jobs.viewOfMachine(name);
    this.#place = guestPlace({
      client: () => life.client("service"),
      vm: this,
      forward: (guest, host) => this.#openForward({ guest, host }, captureSite()),
    });
    setLink(this, {
      vm: name,
      principal: 0,
      label: `machine "${name}"`,
      client: (op) => life.client(op),
      alarm: () => life.alarm,
      explain: (error) => life.explain(error),
      open: this.openResources,
    });
  }

  /** Where it stands. */
  get state(): VmState {
    return this.life.state;
  }

  /**
   * How it was started: transport, accelerator and why, kernel, clone or boot, timings.
   *
   * @throws {StateError} If it was not started yet.
   */
  get info(): MachineInfo {
    if (this.life.machine) return this.life.machine.info;
    throw this.life.stateError("info", "boot() it first");
  }

  /**
   * What its agent counts of itself, for diagnosis: descriptors, memory, requests since it began, and how many of those
   * came over the control port.
   */
  async counters(options: OperationOptions = {}): Promise<AgentCounters> {
    checkCounters(options);
    return await ask(linkOf(this), "counters", {}, { text: "counters()", ...options });
  }

  /** Asks the guest to power off, and ends it from outside if it does not; harmless when called again. */
  async shutdown(options: ShutdownOptions = {}): Promise<void> {
    checkShutdown(options);
    const { timeout = 10, signal } = options;
    signal?.throwIfAborted();
    this.life.abandon("shutdown");
    await trackOperation(
      { op: "shutdown()", vm: this.name },
      () =>
        this.life.stop("shutdown", async (machine) => {
          const deadline = deadlineIn(milliseconds(timeout));
          if (this.state === "paused") await machine.resume();
          const { client } = machine;
          // A guest that cannot be asked, or does not answer, is ended below.
          client?.request("shutdown", { how: "poweroff" }, { timeoutMs: deadline.remaining() || 1 })
            .catch(() => {});
          const end = client
            ? await race(machine.ended, deadline, signal, currentSignal())
            : TIMED_OUT;
          if (end === TIMED_OUT) await machine.quit();
        }),
    );
  }

  /** Ends it at once, as by pulling the plug; harmless when called again. */
  async kill(): Promise<void> {
    this.life.abandon("dead");
    await this.life.stop("kill", (machine) => machine.kill());
  }

  /** Restarts it as by its reset button; resolves when the agent serves again. Processes and open files are gone. */
  async reset(options: OperationOptions = {}): Promise<void> {
    checkReset(options);
    const machine = this.life.running("reset");
    this.life.restarted();
    await trackOperation(
      { op: "reset()", vm: this.name },
      () => withSignals([options.signal, currentSignal()], (signal) => machine.reset({ signal })),
    );
  }

  /** Presses its power button; what happens then is up to the guest. */
  async powerButton(): Promise<void> {
    await this.life.running("powerButton").powerButton();
  }

  /** Stops its processors; its monotonic clock stands still until it is resumed. */
  async pause(): Promise<void> {
    if (this.state === "paused") return;
    await this.life.running("pause").pause();
    this.life.markPaused(true);
  }

  /** Lets it go on after a pause. */
  async resume(): Promise<void> {
    if (this.state === "booted") return;
    await this.life.running("resume").resume();
    this.life.markPaused(false);
  }

  /**
   * Starts a process of its own in the guest that has the machine's surface, with credentials and namespaces of its own
   * if wanted. It is ended with the scope of the caller.
   */
  async spawnWorker(options: WorkerOptions = {}): Promise<Worker> {
    if (this.#workers >= MAX_WORKERS) {
      throw new StateError(
        `Cannot spawn a worker on machine "${this.name}": all numbers are used`,
        {
          actual: `${MAX_WORKERS} workers were spawned on it`,
        },
      );
    }
    const worker = await Worker.spawn(linkOf(this), ++this.#workers, options);
    this.#living.add(worker);
    worker.exit.then(() => this.#living.delete(worker));
    return worker;
  }

  /** How many workers were ever spawned in it: their numbers are taken. */
  protected get workerCount(): number {
    return this.#workers;
  }

  protected set workerCount(count: number) {
    this.#workers = Math.max(this.#workers, count);
  }

  /** Its workers whose processes have not ended. */
  protected get livingWorkers(): readonly Worker[] {
    return [...this.#living];
  }

  /**
   * Plugs a disk into the running machine; resolves when the guest has it as `/dev/disk/by-id/virtio-<id>`. It goes with
   * the machine.
   */
  async attachDisk(options: DiskOptions): Promise<Disk> {
    checkDisk(options, "the disk of vm.attachDisk()");
    const machine = this.life.running("attachDisk");
    const { id } = options;
    if (diskControl(machine).ids().includes(id)) {
      throw new StateError(`Cannot attach disk "${id}" to machine "${this.name}": it has one`, {
        next: "give it another id",
      });
    }
    await trackOperation({ op: `attachDisk(${JSON.stringify(id)})`, vm: this.name }, async () => {
      await machine.attachDisk(diskSpec(options));
      await this.#foundDisk(id);
    });
    return this.disk(id);
  }

  /**
   * A disk that is plugged in, seen from outside of the guest.
   *
   * @throws {RangeError} If there is none of that id.
   */
  disk(id: string): Disk {
    const ids = diskControl(this.life.running("disk")).ids();
    if (!ids.includes(id)) {
      throw new RangeError(
        `Machine "${this.name}" has no disk ${JSON.stringify(id)}: ${hintFor(id, ids)}`,
      );
    }
    const machine = (op: string) => this.life.running(op);
    return new Disk({ vm: this.name, id, machine, found: () => this.#foundDisk(id) });
  }

  /** Waits until the guest has a link to a disk; one without agent is not asked. */
  async #foundDisk(id: string): Promise<void> {
    if (!this.life.running("disk").client) return;
    await this.mkdir(DISK_LINKS, { recursive: true });
    const watch = await this.watch(DISK_LINKS, { kinds: ["create"] });
    try {
      const link = `${DISK_LINKS}/virtio-${id}`;
      const deadline = deadlineIn(DISK_MS * timeScale());
      while (!await this.exists(link)) {
        if (await race(watch.next(), deadline, currentSignal()) !== TIMED_OUT) continue;
        throw new DeadlineError(`Cannot see disk "${id}" in machine "${this.name}"`, {
          expected: `"${link}" within ${DISK_MS / 1000} s`,
          next: "see the console: its kernel may have no driver for it",
        });
      }
    } finally {
      await watch.close();
    }
  }

  /**
   * Makes a port of the guest reachable at a port of this host, by the connection to the agent: the guest needs no network
   * card. Servers are reached that listen on the guest's loopback interface, or on all. It ends with the scope of the
   * caller; it outlives restarts of the machine.
   *
   * @throws {PortInUseError} If somebody has the port of the host.
   */
  async forward(options: ForwardOptions): Promise<PortForward> {
    this.life.client("forward");
    const site = captureSite();
    const forward = await this.#openForward(options, site);
    currentScope().register({
      kind: "forward",
      name: `port ${forward.port} to port ${forward.guest} of machine "${this.name}"`,
      close: () => forward.close(),
      site,
    });
    return forward;
  }

  /** Its loops outlive whoever asks for it. */
  #openForward(options: ForwardOptions, site: Site | undefined): Promise<PortForward> {
    return runScope().run(() =>
      PortForward.open(options, {
        client: () => this.life.client("forward"),
        opened: () => {
          const name = `through the forward of port ${options.guest}`;
          const entry = { kind: "connection", name, site: formatSite(site) };
          this.openResources.add(entry);
          return () => this.openResources.delete(entry);
        },
      })
    );
  }

  /**
   * Starts a service in the guest; resolves when it is ready. It ends with the scope of the caller.
   *
   * @throws {ServiceStartError} If it does not become ready; nothing of it is left then.
   */
  async service(spec: ServiceSpec): Promise<Service> {
    this.life.client("service");
    return await startService(spec, this.#place);
  }

  /**
   * Starts services in the guest, each as soon as what it depends on allows it; resolves when all are ready.
   *
   * @throws {ServiceConfigError} If they cannot be put into an order; nothing was started then.
   * @throws {ServiceStartError} If one does not become ready; nothing of them is left then.
   */
  async services(
    specs: readonly ServiceSpec[],
    options: GroupOptions = {},
  ): Promise<ServiceGroup> {
    this.life.client("services");
    return await startServices(specs, this.#place, options);
  }
}
