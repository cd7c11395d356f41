/** Machines: QEMU and the agent on the host, behind one interface. @module */
export { ConsoleLog, type ConsoleLogOptions, plainText } from "./console_log.ts";
export { type DetachedDisk, type DiskControl, diskControl } from "./disk_control.ts";
export { hostRun } from "./host_run.ts";
export { LocalVmm, type LocalVmmOptions } from "./local/vmm.ts";
export type { AccelDecision } from "./qemu/accel.ts";
export { findQemu, OLDEST_QEMU, type QemuBinary } from "./qemu/binary.ts";
export { QmpClient, QmpError, type QmpEvent } from "./qemu/qmp.ts";
export { sweepSnapshots } from "./qemu/saved_state.ts";
export { TemplateStore, type TemplateStoreOptions } from "./qemu/template_store.ts";
export { QemuVmm, type QemuVmmOptions, TEMPLATE_CAP } from "./qemu/vmm.ts";
export * from "./types.ts";
export * from "./vmm_for.ts";
