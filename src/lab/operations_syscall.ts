import { registerOptions } from "../values/mod.ts";
import { LIMITS, PROCESS_ENTRY, readShape, toText } from "../wire/mod.ts";
import { ask, type GuestLink, linkOf, type OperationOptions, quickLimitMs } from "./_link.ts";
import { collectValues } from "./_transfer.ts";
import type { File } from "./file.ts";
import { OpenOperations } from "./operations_open.ts";
import { PendingSyscall } from "./pending_syscall.ts";
import { limitMs } from "./stream.ts";
import { type IoctlName, sys, type SyscallName } from "./sys.ts";
import {
  type Caller,
  type CallForm,
  readCall,
  type SyscallArg,
  type SyscallTable,
} from "./syscall_form.ts";
import { type SyscallResult, syscallResult } from "./syscall_result.ts";

/** Name or number of a system call. */
export type SyscallRef = SyscallName | (string & Record<never, never>) | number;

/** A process of the guest, as its kernel shows it. */
export interface GuestProcess {
  pid: number;
  ppid: number;
  pgid: number;
  sid: number;
  /** State letter of proc(5): `R`, `S`, `D`, `T`, `Z`, … */
  state: string;
  command: string;
  threads: number;
  uid: number;
  /** Function of the kernel in which it sleeps; empty when it runs or the kernel does not tell. */
  waitChannel: string;
  /** Name or number of the system call that it is blocked in. */
  blockedIn?: string;
  /** How many descriptors it has open. */
  descriptors: number;
  /** Start time in clock ticks since boot: with the pid it names one process for ever. */
  startTicks: number;
}

const checkReadMem = registerOptions<OperationOptions>("vm.readMem()", { signal: "abortSignal" });
const checkIoctl = registerOptions<OperationOptions>("vm.ioctl()", { signal: "abortSignal" });
const checkProcesses = registerOptions<OperationOptions>("vm.processes()", {
  signal: "abortSignal",
});

/** Operations on the guest's kernel itself. */
export abstract class SyscallOperations extends OpenOperations {
  /**
   * Makes a system call on the principal's own thread, after the calls before it. A failure is a result: see
   * `errno`, or use `check()`.
   *
   * @example Both forms
   * ```ts ignore
   * await vm.syscall("dup", file);
   * await vm.syscall("write", { args: [1], bufs: [new Uint8Array([65])], ptrs: [1] });
   * ```
   */
  syscall(call: SyscallRef, ...args: readonly SyscallArg[]): Promise<SyscallResult>;
  syscall(call: SyscallRef, table: SyscallTable): Promise<SyscallResult>;
  async syscall(call: SyscallRef, ...rest: readonly unknown[]): Promise<SyscallResult> {
    const link = linkOf(this);
    return await makeCall(link, readCall(callerOf(link), call, rest));
  }

  /** Makes a system call on a thread of its own and returns at once; a blocked one delays nothing. */
  syscallAsync(call: SyscallRef, ...args: readonly SyscallArg[]): PendingSyscall;
  syscallAsync(call: SyscallRef, table: SyscallTable): PendingSyscall;
  syscallAsync(call: SyscallRef, ...rest: readonly unknown[]): PendingSyscall {
    const link = linkOf(this);
    return new PendingSyscall(link, readCall(callerOf(link), call, rest));
  }

  /**
   * Makes the system call `ioctl`. Bytes are copied in, and what they are afterwards is `outBufs[0]`.
   *
   * @param command Number, or a name that `sys.ioctls` knows.
   */
  async ioctl(
    fd: number | File,
    command: IoctlName | number,
    data: Uint8Array | number | bigint = 0,
    options: OperationOptions = {},
  ): Promise<SyscallResult> {
    checkIoctl(options);
    if (typeof command === "string" && !Object.hasOwn(sys.ioctls, command)) {
      throw new RangeError(
        `Unknown ioctl ${JSON.stringify(command)}: pass its number, or build it by sys.io()`,
      );
    }
    const number = typeof command === "string" ? sys.ioctls[command] : command;
    const link = linkOf(this);
    const form = readCall(callerOf(link), "ioctl", [fd, number, data]);
    return await makeCall(link, { ...form, signal: options.signal });
  }

  /** Reads memory of the principal's own process, such as what a system call returned a pointer to. */
  async readMem(
    address: bigint | number,
    length: number,
    options: OperationOptions = {},
  ): Promise<Uint8Array> {
    checkReadMem(options);
    const addr = typeof address === "bigint" ? address : bigAddress(address);
    if (!Number.isInteger(length) || length < 0 || length > LIMITS.MAX_SYSCALL_BYTES) {
      throw new RangeError(
        `readMem() takes a length from 0 to ${LIMITS.MAX_SYSCALL_BYTES}, got ${String(length)}`,
      );
    }
    const text = `readMem(0x${addr.toString(16)}, ${length})`;
    const reply = await ask(linkOf(this), "readMem", { addr, length }, { text, ...options });
    return reply.data;
  }

  /** All processes of the guest, kernel threads included. */
  async processes(options: OperationOptions = {}): Promise<GuestProcess[]> {
    checkProcesses(options);
    const link = linkOf(this);
    const { arch } = link.client("processes").agent;
    const target = { path: new Uint8Array(0), text: "processes()", signal: options.signal };
    const values = await collectValues(link, "processes", target, (stream) => ({ stream }));
    return values.map((value) => {
      const { wchan, command, syscall, fds, startTicks, ...rest } = readShape(
        PROCESS_ENTRY,
        value,
        "entry of processes",
      );
      return {
        ...rest,
        command: toText(command).replaceAll("\0", " ").trimEnd(),
        waitChannel: toText(wchan),
        ...(syscall < 0 ? {} : { blockedIn: sys.callName(syscall, arch) ?? String(syscall) }),
        descriptors: fds,
        startTicks: Number(startTicks),
      };
    });
  }
}

function callerOf(link: GuestLink): Caller {
  const { vm, principal, label } = link;
  return { vm, principal, label, arch: link.client("syscall").agent.arch };
}

async function makeCall(link: GuestLink, form: CallForm): Promise<SyscallResult> {
  const { nr, name, args, bufs, ptrs, nested, files, timeout, signal } = form;
  const reply = await ask(link, "syscall", { nr, args, bufs, ptrs, nested, files }, {
    text: `syscall(${name})`,
    signal,
    timeoutMs: timeout === undefined ? quickLimitMs() : limitMs(timeout),
  });
  return syscallResult(reply, { name, label: link.label });
}

function bigAddress(address: number): bigint {
  if (Number.isSafeInteger(address) && address >= 0) return BigInt(address);
  throw new RangeError(`readMem() takes an address from 0, got ${String(address)}`);
}
