/** Programs to compare with: installed here, or unpacked from packages of the distribution without installing them. */
import { cacheDir } from "../../src/host/mod.ts";
import { type Bench, findProgram, output } from "./bench.ts";
import { librariesOf } from "./libraries.ts";

/** A program of this host, or of an unpacked package. */
export interface Program {
  path: string;
  /** Where its libraries are, besides the usual places. */
  env: Record<string, string>;
  /** Everything it is loaded with. */
  libraries: string[];
}

/**
 * Finds a program, and fetches its package if it is not installed.
 *
 * @throws {Error} If it is neither here nor to be had.
 */
export async function findOrFetch(
  bench: Bench,
  { name, from }: { name: string; from: string },
): Promise<Program> {
  const installed = await findProgram(name);
  if (installed !== undefined) {
    return { path: installed, env: {}, libraries: await librariesOf(bench, installed) };
  }
  const root = await fetched(bench, from);
  for (const dir of ["usr/sbin", "usr/bin", "sbin", "bin"]) {
    const path = `${root}/${dir}/${name}`;
    if (!await exists(path)) continue;
    const multiarch = `lib/${Deno.build.arch}-linux-gnu`;
    const env = { LD_LIBRARY_PATH: `${root}/usr/${multiarch}:${root}/${multiarch}` };
    return { path, env, libraries: await librariesOf(bench, path, env) };
  }
  throw new Error(`there is no ${name} in the package ${from}`);
}

/** Folder with a package and the libraries that it needs and this host has not; fetched once. */
async function fetched(bench: Bench, name: string): Promise<string> {
  for (const tool of ["apt-get", "apt-cache", "dpkg", "dpkg-query"]) {
    if (await findProgram(tool)) continue;
    throw new Error(`"${name}" is not installed, and there is no ${tool} to fetch it with`);
  }
  const release = /^VERSION_ID="?([^"\n]*)/m.exec(await Deno.readTextFile("/etc/os-release"))?.[1];
  const parent = `${await cacheDir()}/bench`;
  const path = `${parent}/${name}-${release ?? "any"}-${Deno.build.arch}`;
  if (await exists(path)) return path;
  const packages = [name, ...await missingLibraries(bench, name)];
  bench.tell(`fetching from the distribution, by apt-get download: ${packages.join(" ")}`);
  const fresh = `${path}.new-${crypto.randomUUID().slice(0, 8)}`;
  await Deno.mkdir(`${fresh}/debs`, { recursive: true });
  await bench.run.guardPath(fresh);
  try {
    await output(bench, "apt-get", { args: ["download", ...packages], cwd: `${fresh}/debs` });
    for await (const { name } of Deno.readDir(`${fresh}/debs`)) {
      await output(bench, "dpkg", { args: ["-x", `${fresh}/debs/${name}`, `${fresh}/root`] });
    }
    await Deno.rename(`${fresh}/root`, path);
  } finally {
    await Deno.remove(fresh, { recursive: true });
  }
  return path;
}

/** Libraries that a package depends on and that are not installed. */
async function missingLibraries(bench: Bench, name: string): Promise<string[]> {
  const no = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"];
  const args = ["depends", "--recurse", ...no.map((kind) => `--no-${kind}`), name];
  const text = await output(bench, "apt-cache", { args });
  // Those of Perl serve scripts of installation, which do not run.
  const libraries = text.split("\n").filter((line) => /^lib(?!perl|gdbm|db)\S+$/.test(line))
    .filter((line) => !line.endsWith("-perl"));
  const missing = await Promise.all(
    [...new Set(libraries)].map(async (library) => {
      const query = { args: ["-W", "-f", "${Status}", library] };
      const status = await output(bench, "dpkg-query", query).catch(() => ""); // never heard of it
      return status.startsWith("install ok installed") ? [] : [library];
    }),
  );
  return missing.flat();
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
