import { hostRun } from "./host_run.ts";

let root: string | undefined;

/** Sets the folder under which outputs of jobs are kept, such as `DIR/jobs` with `--artifacts DIR`. */
export function setOutputRoot(dir: string | undefined): void {
  root = dir;
}

/** The folder under which outputs of jobs are kept: what was set, else one in this run's own folder. */
export async function outputRoot(): Promise<string> {
  if (root !== undefined) return root;
  const run = await hostRun();
  return `${run.dir}/jobs`;
}
