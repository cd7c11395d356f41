import { type Duration, registerOptions, seconds } from "../values/mod.ts";
import { ask, linkOf, type OperationOptions } from "./_link.ts";
import type { PendingSyscall } from "./pending_syscall.ts";
import type { SyscallOperations } from "./operations_syscall.ts";

/** The clocks of a guest, in nanoseconds. */
export interface ClockReading {
  /** Since 1970. */
  realtimeNs: bigint;
  /** Since the boot, without the time it was suspended; never goes back. */
  monotonicNs: bigint;
  /** Since the boot. */
  boottimeNs: bigint;
}

const checkGet = registerOptions<OperationOptions>("vm.clock.get()", { signal: "abortSignal" });
const checkSet = registerOptions<OperationOptions>("vm.clock.set()", { signal: "abortSignal" });

/** The clock of a machine. */
export class Clock {
  readonly #vm: SyscallOperations;

  /** Made by the machine. */
  constructor(vm: SyscallOperations) {
    this.#vm = vm;
  }

  /** Seconds since 1970, as the guest has them. */
  async get(options: OperationOptions = {}): Promise<number> {
    return Number(await this.getNs(options)) / 1e9;
  }

  /** Nanoseconds since 1970, as the guest has them. */
  async getNs(options: OperationOptions = {}): Promise<bigint> {
    return (await this.read(options)).realtimeNs;
  }

  /** All clocks of the guest at one moment. */
  async read(options: OperationOptions = {}): Promise<ClockReading> {
    checkGet(options);
    return await ask(linkOf(this.#vm), "clockGet", {}, { text: "clock.get()", ...options });
  }

  /** Sets the time: seconds since 1970, or a Date. The monotonic clock goes on as before. */
  async set(time: number | Date, options: OperationOptions = {}): Promise<void> {
    checkSet(options);
    const ms = time instanceof Date ? time.getTime() : typeof time === "number" ? time * 1000 : NaN;
    if (!Number.isFinite(ms) || ms < 0) {
      const got = typeof time === "number" || time instanceof Date ? String(time) : typeof time;
      throw new RangeError(`clock.set() takes seconds since 1970 or a valid Date, got ${got}`);
    }
    await this.#setNs(BigInt(Math.round(ms * 1000)) * 1000n, options);
  }

  /** Moves the time on, or back with a negative duration such as `"-1h"`. */
  async advance(duration: Duration, options: OperationOptions = {}): Promise<void> {
    checkSet(options);
    const back = typeof duration === "string" ? duration.startsWith("-") : duration < 0;
    const length = typeof duration === "string" && back
      ? duration.slice(1)
      : typeof duration === "number"
      ? Math.abs(duration)
      : duration;
    const ns = BigInt(Math.round(seconds(length, { name: "duration of clock.advance()" }) * 1e9));
    const now = await this.getNs({ signal: options.signal });
    await this.#setNs(back ? now - ns : now + ns, options);
  }

  /** Sleeps until that much time has passed in the guest, which stands still while the machine is paused. */
  async sleep(duration: Duration, options: OperationOptions = {}): Promise<void> {
    checkGet(options);
    const length = seconds(duration, { name: "duration of clock.sleep()" });
    const time = new BigInt64Array([
      BigInt(Math.floor(length)),
      BigInt(Math.round((length % 1) * 1e9)),
    ]);
    const CLOCK_MONOTONIC = 1;
    await using call: PendingSyscall = this.#vm.syscallAsync("clock_nanosleep", {
      args: [CLOCK_MONOTONIC, 0, 0, 0],
      bufs: [new Uint8Array(time.buffer)],
      ptrs: [2],
    });
    (await call.wait(undefined, options)).check();
  }

  async #setNs(realtimeNs: bigint, options: OperationOptions): Promise<void> {
    await ask(linkOf(this.#vm), "clockSet", { realtimeNs }, { text: "clock.set()", ...options });
  }
}
