import {
  makeReporter,
  type Reporter,
  REPORTER_NAMES,
  type ReporterName,
  type ReporterOutput,
} from "../report/mod.ts";
import { closest } from "../values/mod.ts";
import { usage } from "./_errors.ts";
import { columns, hasColor, print } from "./_terminal.ts";

/** What reporters are made from. */
export interface ReporterChoice {
  /** `NAME` or `NAME=FILE`, as given. */
  reporter?: string[];
  color: boolean;
  verbose?: boolean;
  quiet?: boolean;
  cwd: string;
  command?: string;
  /** Whether nothing happens any more: there is nothing live to show. */
  still?: boolean;
}

/** Makes the reporters that were asked for, and the usual one if none of them writes to standard output. */
export function makeReporters(choice: ReporterChoice): Reporter[] {
  const wanted = (choice.reporter ?? []).map(readChoice);
  const onOutput = wanted.filter(({ path }) => path === undefined);
  if (onOutput.length > 1) {
    throw usage(
      `Reporters ${
        onOutput.map(({ name }) => name).join(" and ")
      } cannot both write to standard output: ` +
        `give one of them a file, as in "${onOutput[1]!.name}=FILE"`,
    );
  }
  if (onOutput.length === 0) {
    wanted.unshift({ name: choice.still ? "plain" : usualReporter(), path: undefined });
  }
  return wanted.map(({ name, path }) => makeReporter(name, outputFor(path, choice)));
}

function readChoice(text: string): { name: ReporterName; path: string | undefined } {
  const [name = "", ...rest] = text.split("=");
  if (!REPORTER_NAMES.includes(name as ReporterName)) {
    const near = closest(name, REPORTER_NAMES);
    const hint = near
      ? `did you mean ${JSON.stringify(near)}?`
      : `expected ${REPORTER_NAMES.join(", ")}`;
    throw usage(`Unknown reporter ${JSON.stringify(name)}: ${hint}`);
  }
  return { name: name as ReporterName, path: rest.length > 0 ? rest.join("=") : undefined };
}

function usualReporter(): ReporterName {
  const isDumb = Deno.env.get("TERM") === "dumb";
  return Deno.stdout.isTerminal() && !isDumb && !Deno.env.get("CI") ? "tty" : "plain";
}

function outputFor(path: string | undefined, choice: ReporterChoice): ReporterOutput {
  const { cwd, command, verbose, quiet } = choice;
  const common = { cwd, command, verbose, quiet };
  if (path === undefined) {
    return {
      ...common,
      write: print,
      color: hasColor(choice.color),
      get columns() {
        return columns();
      },
    };
  }
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { write: true, create: true, truncate: true });
  } catch (error) {
    throw usage(
      `Cannot write ${JSON.stringify(path)}: ${error instanceof Error ? error.message : error}`,
    );
  }
  const write = (text: string) => {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
  };
  return { ...common, write, color: false, columns: 120 };
}
