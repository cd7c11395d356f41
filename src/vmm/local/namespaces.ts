/** How the agent is started so that it has a world of its own on the host, as far as the host permits. */
export interface NamespacePlan {
  /** Words before the agent's own command. */
  prefix: string[];
  /** One line for people. */
  why: string;
}

/** What no local machine may do to the host, even if the harness runs as root. */
const DROPPED = ["sys_time", "sys_boot", "sys_module", "sys_rawio"];

let known: Promise<NamespacePlan> | undefined;

/** Finds out which namespaces this user may make; asked once per process. */
export function namespacePlan(): Promise<NamespacePlan> {
  return known ??= find();
}

async function find(): Promise<NamespacePlan> {
  const isRoot = Deno.uid() === 0;
  // --kill-child: everything in a pid namespace ends with its first process.
  const flags = ["--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc", "--kill-child"];
  const namespaces = ["unshare", ...isRoot ? [] : ["--user", "--map-root-user"], ...flags, "--"];
  const bounds = DROPPED.map((name) => `-${name}`).join(",");
  const dropped = ["setpriv", `--bounding-set=${bounds}`, `--inh-caps=${bounds}`, "--"];
  const refused = await refusal(namespaces);
  if (refused) return { prefix: [], why: `without namespaces of its own: ${refused}` };
  const kept = await refusal([...namespaces, ...dropped]);
  if (kept) {
    return {
      prefix: namespaces,
      why: `in namespaces of its own, with all capabilities: ${kept}`,
    };
  }
  return { prefix: [...namespaces, ...dropped], why: "in namespaces of its own" };
}

/** Why a prefix cannot be used; `undefined` if it can. */
async function refusal([command, ...args]: string[]): Promise<string | undefined> {
  try {
    const { success, stderr } = await new Deno.Command(command!, {
      args: [...args, "true"],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (success) return undefined;
    return new TextDecoder().decode(stderr).trim().split("\n")[0] || `${command} failed`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return `there is no ${command}`;
    throw error;
  }
}
