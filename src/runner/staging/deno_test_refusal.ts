import { authorFrame, formatSite, type Site } from "../../scope/mod.ts";
import { codeFrame } from "./_position.ts";
import { StagingError } from "./staging_error.ts";

/**
 * Makes `Deno.test()` and `Deno.bench()` throw, at the author's line. Outside of `deno test` they only take note of a
 * function that nobody calls, so a test written with them would count as passed without ever running.
 *
 * @returns What undoes it.
 */
export function refuseDenoTests(): Disposable {
  const { test, bench } = Deno;
  Object.assign(Deno, { test: refusing("test"), bench: refusing("bench") });
  return {
    [Symbol.dispose]: () => {
      Object.assign(Deno, { test, bench });
    },
  };
}

/** A function that refuses each call, and each call of its members, such as `Deno.test.only()`. */
function refusing(name: "test" | "bench"): unknown {
  const refuse = (call: string): never => {
    const site = authorFrame(new Error().stack ?? "") ??
      { file: "unknown file", line: 1, column: 1 };
    const where = formatSite(site);
    throw new StagingError(`Cannot run \`${call}()\` at "${where}" under \`belljar run\``, {
      code: "DENO_TEST",
      site,
      frame: frameAt(site),
      expected: name === "test" ? 'tests registered by `test()` of "belljar"' : "tests only",
      next: name === "test"
        ? 'write `import { test } from "belljar"`, or run the file by `deno test`'
        : "run the file by `deno bench`",
    });
  };
  return new Proxy(() => {}, {
    apply: () => refuse(`Deno.${name}`),
    get: (_, member) => () => refuse(`Deno.${name}.${String(member)}`),
  });
}

function frameAt({ file, line, column }: Site): string {
  try {
    const text = Deno.readTextFileSync(new URL(file));
    return codeFrame(text, { line: line - 1, column: column - 1 });
  } catch {
    return ""; // code without a file, made by the test itself
  }
}
