import { BelljarError } from "../errors.ts";
import { type Run, spawnDetached, TOKEN_VARIABLE } from "../host/mod.ts";
import type { Emit } from "./emit.ts";

let warned = false;

/**
 * Starts the process of a file under the run's guard. Where there is no guard (no compiler, no agent), tests without
 * machines still run: the process ends by itself when its connection to this one breaks.
 */
export async function spawnFile(
  run: Run,
  command: string,
  options: Deno.CommandOptions,
  emit: Emit,
): Promise<Deno.ChildProcess> {
  try {
    return await run.spawn(command, options);
  } catch (error) {
    if (!(error instanceof BelljarError) || error.code === "STATE") throw error;
    if (!warned) {
      emit("warning", {
        message: `Files run without a guard: ${error.summary}`,
        next:
          "processes of a test that blocks may stay when belljar is killed; see `belljar doctor`",
      });
    }
    warned = true;
    return spawnDetached(command, {
      ...options,
      env: { ...options.env, [TOKEN_VARIABLE]: run.token },
    });
  }
}
