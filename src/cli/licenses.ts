import { Command } from "@cliffy/command";
import { type Image, listImages, resolveImage } from "../image/mod.ts";
import { escapeLine, makeStyle } from "../report/mod.ts";
import { EMBEDDED } from "../runner/staging/mod.ts";
import { VERSION } from "../wire/mod.ts";
import { table } from "./_format.ts";
import { hasColor, print } from "./_terminal.ts";
import type { GlobalOptions } from "./run.ts";

/** Something that is part of this program, or of the image in it. */
interface Part {
  name: string;
  version: string;
  license: string;
  source: string;
}

/** Licences of what is not told by the packages themselves. */
const PART_LICENSES: Record<string, string> = { kernel: "GPL-2.0-only", busybox: "GPL-2.0-only" };

/** `belljar licenses`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function licensesCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description(
      "Show what this program contains that others wrote: versions, licences, and where the source is.",
    )
    .option("--json", "As JSON")
    .action(async (options) => {
      const parts = [...programParts(), ...await imageParts()];
      if (options.json) return print(`${JSON.stringify({ v: 1, parts }, null, 2)}\n`);
      const rows = parts.map(({ name, version, license, source }) =>
        [name, version, license, source].map(escapeLine)
      );
      print(
        table(["name", "version", "licence", "source"], rows, makeStyle(hasColor(options.color))),
      );
    });
}

function programParts(): Part[] {
  const { deno, v8, typescript } = Deno.version;
  const parts: Part[] = [
    {
      name: "belljar",
      version: VERSION,
      license: "MIT",
      source: "https://jsr.io/@belljar/belljar",
    },
  ];
  if (Deno.build.standalone) {
    parts.push(
      {
        name: "deno",
        version: deno,
        license: "MIT",
        source: `https://github.com/denoland/deno/tree/v${deno}`,
      },
      {
        name: "v8",
        version: v8,
        license: "BSD-3-Clause",
        source: "https://chromium.googlesource.com/v8/v8",
      },
      {
        name: "typescript",
        version: typescript,
        license: "Apache-2.0",
        source: "https://github.com/microsoft/TypeScript",
      },
    );
  }
  for (const { name, version } of EMBEDDED) {
    if (!name.startsWith("@std/")) continue;
    parts.push({ name, version, license: "MIT", source: `https://jsr.io/${name}@${version}` });
  }
  parts.push(
    {
      name: "@cliffy/command",
      version: "1.2.1",
      license: "MIT",
      source: "https://jsr.io/@cliffy/command@1.2.1",
    },
    {
      name: "@swc/wasm-typescript",
      version: "1.16.2",
      license: "Apache-2.0",
      source: "https://github.com/swc-project/swc",
    },
  );
  return parts;
}

/** The image "tiny": the one inside the compiled program, or what was built here. Nothing is built for this. */
async function imageParts(): Promise<Part[]> {
  const isThere = Deno.build.standalone || (await listImages()).some(({ name }) => name === "tiny");
  if (!isThere) return [];
  let image: Image;
  try {
    image = await resolveImage("tiny");
  } catch (error) {
    if (Deno.build.standalone) return []; // Compiled without an image.
    throw error;
  }
  return image.parts.map(({ name, origin, source }) => ({
    name: `tiny: ${name}`,
    version: origin,
    license: PART_LICENSES[name] ?? "see the source",
    source: source ?? "the distribution's source package",
  }));
}
