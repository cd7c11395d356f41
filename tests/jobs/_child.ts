/** Scripts that tests run as processes of their own. */

const ROOT = new URL("../../", import.meta.url);

/** Arguments for `deno` to run a script of `tests/jobs/fixtures` with the packages of this machine. */
export async function scriptArgs(script: string, ...args: string[]): Promise<string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", "--no-config", "--no-lock", "scripts/deps.ts"],
    cwd: ROOT,
  }).output();
  const flags = new TextDecoder().decode(stdout).trim().split(" ").filter((flag) => flag !== "");
  const path = script.startsWith("/") ? script : `tests/jobs/fixtures/${script}`;
  return ["run", "-A", "-q", "--no-check", ...flags, path, ...args];
}

/** Starts a script, and returns it with the first that it prints. */
export async function startScript(
  script: string,
  args: string[],
  prefix: string[] = [],
): Promise<{ child: Deno.ChildProcess; printed: string }> {
  const argv = [...prefix, Deno.execPath(), ...await scriptArgs(script, ...args)];
  const child = new Deno.Command(argv[0]!, {
    args: argv.slice(1),
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return { child, printed: new TextDecoder().decode(value).trim() };
}
