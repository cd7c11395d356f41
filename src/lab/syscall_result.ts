import { errnoName } from "../values/mod.ts";
import type { OpReply } from "../wire/mod.ts";
import { SyscallError } from "./errors.ts";

/** What a system call returned. A failure is a result, not an error: see {@linkcode SyscallResult.check}. */
export interface SyscallResult {
  /** The return value; `-1n` after a failure. */
  readonly ret: bigint;
  /** The same as a number, rounded beyond 2^53. */
  readonly result: number;
  /** 0, or why it failed. */
  readonly errno: number;
  /** Empty, or why it failed, such as `"ENOENT"`. */
  readonly errnoName: string;
  /** Content of every buffer after the call, in the order of the buffers. */
  readonly outBufs: Uint8Array[];
  /**
   * Returns the result itself if the call succeeded.
   *
   * @throws {SyscallError} If it failed, naming call and errno.
   */
  check(): this;
}

/** The result of a call as authors see it. */
export function syscallResult(
  reply: OpReply<"syscall">,
  call: { name: string; label: string },
): SyscallResult {
  const failed = reply.errno !== 0;
  const ret = failed ? -1n : BigInt.asIntN(64, reply.ret);
  const name = failed ? errnoName(reply.errno) : "";
  return {
    ret,
    result: Number(ret),
    errno: reply.errno,
    errnoName: name,
    outBufs: reply.outs,
    check() {
      if (!failed) return this;
      throw new SyscallError(`System call ${call.name} failed on ${call.label}: ${name}`, {
        errno: name,
        call: call.name,
      });
    },
  };
}
