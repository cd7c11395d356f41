import { VSOCK_PORT } from "../vsock.ts";

/** Arguments that every kernel gets, and why. */
const BASE: readonly (readonly [word: string, why: string])[] = [
  ["console=ttyS0", "the console from power-on"],
  ["quiet", "a tenth of the boot; the agent pushes warnings from /dev/kmsg once it runs"],
  ["panic=-1", "with -action reboot=shutdown a panic ends the machine if nothing reports it"],
  ["cryptomgr.notests", "0.88 of the boot under TCG: the self-tests of ciphers are waited for"],
  ["no_timer_check", "on a busy host an emulated timer may miss its check: the kernel panics then"],
];

/** What {@linkcode kernelCmdline} puts together. */
export interface KernelCmdlineParts {
  /** The image's arguments. */
  image: string;
  /** Arguments in place of the image's. */
  instead?: string;
  /** Arguments that come last, so that they win. */
  append?: string;
  /** Whether the agent shall listen on vsock. */
  vsock?: boolean;
}

/** Returns a kernel's arguments: what every machine needs, then the image's or those in their place, then the rest. */
export function kernelCmdline({ image, instead, append, vsock }: KernelCmdlineParts): string {
  const listen = vsock ? `belljar.vsock=${VSOCK_PORT}` : "";
  return [...BASE.map(([word]) => word), listen, instead ?? image, append ?? ""]
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .join(" ");
}
