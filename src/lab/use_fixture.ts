import { HostError, ListingError } from "../errors.ts";
import { currentSignal, isListing, type Site, trackOperation, uncharged } from "../scope/mod.ts";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { withSignals } from "./_link.ts";
import { labProviders } from "./providers.ts";
import { Snapshot } from "./snapshot.ts";

/**
 * Finds a fixture, builds it if need be, and returns its snapshot, which is deleted by nobody.
 *
 * @param path As the author wrote it: relative to the file that calls, else to the current folder.
 * @throws {HostError} If there is no such file.
 */
export async function openFixture(
  path: string | URL,
  caller: Site | undefined,
  signal: AbortSignal | undefined,
): Promise<Snapshot> {
  if (isListing()) {
    throw new ListingError(`Cannot resume fixture "${path}": tests are only being listed`, {
      next: "use fixtures in a test or a hook if the file shall be listed without a note",
    });
  }
  const file = await fixturePath(path, caller);
  return await trackOperation(
    { op: `fixture(${JSON.stringify(String(path))})` },
    () =>
      withSignals([signal, currentSignal()], async (any) => {
        const parts = await uncharged(() => labProviders().fixture({ path: file, signal: any }));
        return new Snapshot({ ...parts, isKept: true });
      }),
  );
}

async function fixturePath(path: string | URL, caller: Site | undefined): Promise<string> {
  if (!(path instanceof URL) && (typeof path !== "string" || path === "")) {
    throw new TypeError(`lab.fixture() takes a path or URL first, got ${typeof path}`);
  }
  if (path instanceof URL || path.startsWith("file:")) return await existing([fileURLToPath(path)]);
  const folders = [Deno.cwd()];
  if (caller?.file.startsWith("file:")) folders.unshift(dirname(fileURLToPath(caller.file)));
  else if (caller?.file.startsWith("/")) folders.unshift(dirname(caller.file));
  return await existing([...new Set(folders.map((folder) => resolve(folder, path)))]);
}

async function existing(candidates: readonly string[]): Promise<string> {
  for (const candidate of candidates) {
    const info = await Deno.stat(candidate).catch(() => undefined); // looked for elsewhere, or told below
    if (info?.isFile) return await Deno.realPath(candidate);
  }
  throw new HostError(`Cannot find fixture "${candidates[0]}"`, {
    code: "NO_FIXTURE",
    expected: "the path of a file, relative to the file that calls lab.fixture()",
    actual: candidates.map((candidate) => `there is no file "${candidate}"`).join("\n"),
  });
}
