/** Machines: QEMU and the agent on the host, behind one interface. @module */
export { ConsoleLog, type ConsoleLogOptions, plainText } from "./console_log.ts";
export { hostRun } from "./host_run.ts";
export * from "./types.ts";
