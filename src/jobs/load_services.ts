import { ServiceConfigError } from "./service_errors.ts";
import { serviceGraph } from "./service_graph.ts";
import type { ServiceSpec } from "./service_types.ts";

/**
 * Reads services from a file: specifications from `*.json` and `*.jsonc` (a list, or an object with a list `services`),
 * `name: command` per line from `Procfile*`, else a command per line. Lines that begin with `#` are comments. Nothing is
 * evaluated here.
 *
 * @throws {ServiceConfigError} If the file cannot be read as that.
 */
export async function loadServices(path: string): Promise<ServiceSpec[]> {
  const text = await read(path);
  const name = path.split("/").at(-1)!;
  const specs = /\.jsonc?$/.test(name)
    ? fromJson(path, text)
    : /^Procfile/.test(name)
    ? fromProcfile(path, text)
    : commandLines(text).map(({ line }, i) => ({ name: `service-${i + 1}`, command: line }));
  serviceGraph(specs);
  return specs;
}

async function read(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    throw new ServiceConfigError(`Cannot read services from "${path}"`, {
      actual: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}

function fromJson(path: string, text: string): ServiceSpec[] {
  let value: unknown;
  try {
    value = JSON.parse(withoutComments(text));
  } catch (cause) {
    throw new ServiceConfigError(`Cannot read services from "${path}": it is no JSON`, {
      actual: (cause as Error).message,
      cause,
    });
  }
  const list = Array.isArray(value) ? value : (value as { services?: unknown } | null)?.services;
  if (Array.isArray(list)) return list;
  throw new ServiceConfigError(`Cannot read services from "${path}": it holds no list`, {
    expected: 'a list of services, or an object with a list "services"',
  });
}

function fromProcfile(path: string, text: string): ServiceSpec[] {
  return commandLines(text).map(({ line, number }) => {
    const match = /^([A-Za-z_][\w-]*)\s*:\s*(\S.*)$/.exec(line);
    if (match) return { name: match[1]!, command: match[2]! };
    throw new ServiceConfigError(`Cannot read line ${number} of "${path}"`, {
      expected: "name: command",
      actual: line,
    });
  });
}

function commandLines(text: string): { line: string; number: number }[] {
  return text.split("\n").map((line, i) => ({ line: line.trim(), number: i + 1 }))
    .filter(({ line }) => line !== "" && !line.startsWith("#"));
}

/** Takes comments and commas before a closing bracket out of JSON; what is in strings stays. */
function withoutComments(text: string): string {
  const token =
    /("(?:\\.|[^"\\])*")|\/\/[^\n]*|\/\*[\s\S]*?\*\/|,(?=(?:\s|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*[}\]])/g;
  return text.replace(token, (_, string?: string) => string ?? "");
}
