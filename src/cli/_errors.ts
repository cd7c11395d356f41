import { ValidationError } from "@cliffy/command";
import { closest } from "../values/mod.ts";

/** Ends the command with an exit code, after what had to be said was said. */
export class ExitError extends Error {
  override readonly name = "ExitError";
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`exit ${exitCode}`);
    this.exitCode = exitCode;
  }
}

/** What a command knows about its flags. */
export interface HasOptions {
  getOptions(hidden?: boolean): { name: string; flags: string[] }[];
}

/**
 * Refuses operands that begin with "-": an unknown flag is taken for a path otherwise.
 *
 * @throws {ValidationError} With the nearest flag.
 */
export function refuseFlags(operands: readonly (string | undefined)[], command: HasOptions): void {
  const flag = operands.find((operand) => operand?.startsWith("-"));
  if (flag === undefined) return;
  const [name = flag] = flag.split("=", 1);
  const known = command.getOptions(true).flatMap(({ flags }) => flags).filter((word) =>
    word.startsWith("--")
  );
  const near = closest(name, known);
  const hint = near ? `: did you mean ${JSON.stringify(near)}?` : "";
  throw new ValidationError(`Unknown option ${JSON.stringify(name)}${hint}`, { exitCode: 2 });
}

/** Wrong use of the command line. */
export function usage(message: string): ValidationError {
  return new ValidationError(message, { exitCode: 2 });
}

/** Runs `fn`, whose errors of use become usage errors. */
export function asUsage<T>(fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError || error instanceof SyntaxError) {
      throw usage(error.message);
    }
    throw error;
  }
}
