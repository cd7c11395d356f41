import { BelljarError } from "../errors.ts";
import { registerOptions } from "../values/mod.ts";
import { PROBE_BASE } from "./_probe_options.ts";
import type { Probe, ProbeBase } from "./probe.ts";

const check = registerOptions<ProbeBase>("probe.notify()", PROBE_BASE);

/** See {@linkcode probe.notify}. */
export function notifyProbe(options: ProbeBase): Probe {
  check(options);
  const sockets = new Map<string, { isReady: boolean; ready: Promise<void> }>();
  const socketOf = (env: Record<string, string>) => sockets.get(env.NOTIFY_SOCKET ?? "");
  return {
    kind: "notify",
    describe: () => "READY=1 on NOTIFY_SOCKET",
    async prepare(place) {
      if (!place.notifySocket) {
        throw new BelljarError("Cannot listen for READY=1 in a guest", {
          code: "NOT_IMPLEMENTED",
          next: "use probe.log(), probe.file() or probe.command()",
        });
      }
      const { path, ready, close } = await place.notifySocket();
      const entry = { isReady: false, ready };
      sockets.set(path, entry);
      ready.then(() => entry.isReady = true);
      return {
        env: { NOTIFY_SOCKET: path },
        close: () => {
          sockets.delete(path);
          close();
        },
      };
    },
    check: ({ env }) =>
      Promise.resolve(
        socketOf(env)?.isReady ? { ok: true } : { ok: false, reason: "nothing was sent yet" },
      ),
    wake: ({ env }) => socketOf(env)?.ready ?? new Promise(() => {}),
    ...options,
  };
}
