import { DeadlineError, GuestError } from "../../errors.ts";
import { formatSeconds } from "../../values/duration.ts";
import { type AgentClient, type RequestOptions, toBytes } from "../../wire/mod.ts";

/** Runs a program of the guest to its end, if it has one that does nothing. */
export async function runOnce(client: AgentClient, options: RequestOptions): Promise<void> {
  const proc = client.newId();
  const empty = Promise.withResolvers<void>();
  const unlisten = client.on(proc, ({ ev }) => ev === "empty" && empty.resolve());
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(silent(options)), options.timeoutMs);
  const onAbort = () => reject(options.signal!.reason);
  options.signal?.addEventListener("abort", onAbort, { once: true });
  client.closed.then(reject);
  try {
    const argv = ["/bin/sh", "-c", "true"].map(toBytes);
    await client.request("spawn", { proc, argv, env: [], clearEnv: false }, options);
    await Promise.race([empty.promise, late]);
    await client.request("procRelease", { proc }, options);
  } catch (error) {
    if (!(error instanceof GuestError)) throw error; // an image without a shell
  } finally {
    late.catch(() => {}); // lost the race
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", onAbort);
    unlisten();
  }
}

function silent({ timeoutMs = 0 }: RequestOptions): DeadlineError {
  return new DeadlineError("Cannot prepare a machine: its first process does not end", {
    expected: `the end of "/bin/sh -c true" within ${formatSeconds(timeoutMs / 1000)}`,
    next: "boot with `cold: true`, and see what /bin/sh of the image does",
  });
}
