import { ImageError } from "../errors.ts";
import { findProgram, runTool, runToolOk } from "./_tool.ts";

/** A package of a Debian-like distribution, as its package lists describe it. */
export interface DebianPackage {
  name: string;
  version: string;
  arch: string;
  /** Names of the packages it needs, the first of alternatives. */
  depends: string[];
  /** Page from which its source can be had, if the distribution has such pages. */
  source?: string;
}

/** Why a package cannot be had here. */
export interface NoPackage {
  reason: string;
  next: string;
}

/**
 * Looks for the first of several packages that the distribution has, without root.
 *
 * @returns The package, or why there is none.
 * @throws {unknown} The reason of `signal`, if that aborts first.
 */
export async function findPackage(
  names: readonly string[],
  options: { signal?: AbortSignal } = {},
): Promise<DebianPackage | NoPackage> {
  for (const program of ["apt-cache", "apt-get", "dpkg-deb"]) {
    if (await findProgram(program)) continue;
    return {
      reason: `there is no "${program}" here`,
      next: "use Debian or Ubuntu, or give the file itself",
    };
  }
  for (const name of names) {
    const found = await showPackage(name, options.signal);
    if (found) return found;
  }
  return {
    reason: `the package lists have none of ${names.join(", ")}`,
    next: "run scripts/setup, or `apt-get update` as root, so that packages can be found",
  };
}

/**
 * Downloads a package and unpacks it to a folder, without root: no script of it runs.
 *
 * @throws {ImageError} If it cannot be fetched or unpacked.
 */
export async function unpackPackage(
  found: DebianPackage,
  dir: string,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const { signal } = options;
  const id = `${found.name}=${found.version}`;
  const downloads = `${dir}/.download`;
  await Deno.mkdir(downloads, { recursive: true });
  try {
    await runToolOk(`download the package ${id}`, "apt-get", [
      "download",
      "--quiet",
      // apt's own user cannot write to a private folder; it says so on each download otherwise.
      "--option=APT::Sandbox::User=",
      id,
    ], {
      cwd: downloads,
      signal,
      next: "check the network; if the package lists are old, run `apt-get update` as root",
    });
    const files = await Array.fromAsync(Deno.readDir(downloads));
    const deb = files.find((file) => file.name.endsWith(".deb"));
    if (!deb) throw new ImageError(`Cannot find the package ${id} after its download`);
    await runToolOk(`unpack the package ${id}`, "dpkg-deb", [
      "--extract",
      `${downloads}/${deb.name}`,
      dir,
    ], { signal });
  } finally {
    await Deno.remove(downloads, { recursive: true });
  }
}

async function showPackage(
  name: string,
  signal: AbortSignal | undefined,
): Promise<DebianPackage | undefined> {
  const output = await runTool("apt-cache", ["show", "--no-all-versions", name], { signal });
  if (!output.success) return undefined;
  const text = new TextDecoder().decode(output.stdout);
  const field = (key: string) => new RegExp(`^${key}: (.*)$`, "m").exec(text)?.[1];
  const version = field("Version");
  const arch = field("Architecture");
  if (version === undefined || arch === undefined) return undefined;
  // "Source: linux (6.1.1-1)": both name and version are left out where they are the package's own.
  const [, source = name, sourceVersion = version] =
    /^(\S+)(?: \((.*)\))?/.exec(field("Source") ?? "") ??
      [];
  return {
    name,
    version,
    arch,
    depends: parseDepends(field("Depends") ?? ""),
    source: await sourcePage(source, sourceVersion),
  };
}

/**
 * Tells which installed package a file belongs to.
 *
 * @returns Nothing if it belongs to none, or packages are not Debian's.
 */
export async function packageOfFile(
  path: string,
  options: { signal?: AbortSignal } = {},
): Promise<{ origin: string; source?: string } | undefined> {
  if (!await findProgram("dpkg-query")) return undefined;
  const query = async (...args: string[]) => {
    const output = await runTool("dpkg-query", args, options);
    return output.success ? new TextDecoder().decode(output.stdout).trim() : undefined;
  };
  const owner = (await query("--search", path))?.split(": ")[0];
  if (!owner) return undefined;
  const format = "${Package}\\t${Version}\\t${source:Package}\\t${source:Version}";
  const shown = await query("--show", `--showformat=${format}`, owner);
  const [name, version, source, sourceVersion] = shown?.split("\t") ?? [];
  if (!name || !version || !source || !sourceVersion) return undefined;
  return { origin: `${name} ${version}`, source: await sourcePage(source, sourceVersion) };
}

/** Returns the page of a source package at the distribution that runs here. */
async function sourcePage(name: string, version: string): Promise<string | undefined> {
  const release = await Deno.readTextFile("/etc/os-release").catch(() => "");
  const id = /^ID="?([a-z]+)/m.exec(release)?.[1];
  const escaped = encodeURIComponent(version).replaceAll("%3A", ":").replaceAll("%2B", "+");
  if (id === "debian") return `https://snapshot.debian.org/package/${name}/${escaped}/`;
  if (id === "ubuntu") return `https://launchpad.net/ubuntu/+source/${name}/${escaped}`;
  return undefined;
}

/** Reads `a (>= 1), b | c` as the names `a` and `b`. */
export function parseDepends(text: string): string[] {
  return text.split(",")
    .map((item) => item.split("|")[0]!.trim().split(/[\s(:]/)[0]!)
    .filter((name) => name !== "");
}
