import { Command } from "@cliffy/command";
import {
  agentBinary,
  buildContext,
  type BuildOptions,
  cleanImages,
  listImages,
  resolveImage,
} from "../image/mod.ts";
import { escapeLine, makeStyle } from "../report/mod.ts";
import { loadConfig } from "../runner/mod.ts";
import { bytes } from "../values/mod.ts";
import { asUsage, refuseFlags } from "./_errors.ts";
import { showBytes, table } from "./_format.ts";
import { hasColor, print, printError } from "./_terminal.ts";
import { stageForConfig } from "./_stage.ts";
import type { GlobalOptions } from "./run.ts";

/** `belljar image`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function imageCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description("Build, list and remove the images that machines start from.")
    .action(function () {
      this.showHelp();
    })
    .command("list", listCommand())
    .command("build", buildCommand())
    .command("path", pathCommand())
    .command("clean", cleanCommand());
}

// deno-lint-ignore no-explicit-any -- see above
function listCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description("Show the images that are built, the last used first.")
    .option("--json", "As JSON")
    .action(async (options) => {
      const images = await listImages();
      if (options.json) return print(`${JSON.stringify({ v: 1, images }, null, 2)}\n`);
      if (images.length === 0) return print("No image is built yet: belljar image build tiny\n");
      const rows = images.map(({ name, kind, digest, kernelRelease, bytes, usedAt }) => [
        escapeLine(name),
        kind,
        digest.slice(0, 12),
        escapeLine(kernelRelease ?? ""),
        showBytes(bytes),
        usedAt.toISOString().slice(0, 16).replace("T", " "),
      ]);
      const style = makeStyle(hasColor(options.color));
      print(table(["name", "kind", "digest", "kernel", "size", "last used"], rows, style));
    });
}

// deno-lint-ignore no-explicit-any -- see above
function buildCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description(
      "Build images and keep them in the cache: tiny, or those of belljar.config.ts; all of them if none is named.",
    )
    .arguments("[names...:string]")
    .option("--refresh", "Look for a newer kernel package")
    .example("The built-in image", "belljar image build tiny")
    .action(async function (options, ...names) {
      refuseFlags(names, this);
      const { config: { images = {} }, root } = await loadConfig(
        Deno.cwd(),
        await stageForConfig(),
      );
      for (const name of names.length > 0 ? names : ["tiny", ...Object.keys(images)]) {
        const started = performance.now();
        const image = await resolveImage(name, {
          images,
          root,
          refresh: options.refresh,
          onProgress: options.quiet ? undefined : progress(name),
        });
        const seconds = ((performance.now() - started) / 1000).toFixed(1);
        print(
          `${escapeLine(name)}: ready in ${seconds} s, ${
            escapeLine(image.kernelRelease ?? image.kind)
          }\n`,
        );
        for (const note of image.notes) print(`  ${escapeLine(note)}\n`);
      }
    });
}

// deno-lint-ignore no-explicit-any -- see above
function pathCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description(
      'Print the files of an image, which is built if it is not there, or of the guest\'s "agent".',
    )
    .arguments("<name:string>")
    .option("--json", "As JSON, with everything that is known about the image")
    .action(async function (options, name) {
      refuseFlags([name], this);
      // Also how a belljar without a compiler gets its agent from an installed one.
      if (name === "agent") return print(`${await agentBinary()}\n`);
      const { config: { images = {} }, root } = await loadConfig(
        Deno.cwd(),
        await stageForConfig(),
      );
      const image = await resolveImage(name, { images, root });
      if (options.json) return print(`${JSON.stringify({ v: 1, ...image }, null, 2)}\n`);
      for (const path of [image.kernel, ...image.initrds, image.disk?.path]) {
        if (path) print(`${path}\n`);
      }
    });
}

// deno-lint-ignore no-explicit-any -- see above
function cleanCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description(
      "Remove images from the cache: those used longest ago until it fits, or the named ones.",
    )
    .arguments("[names...:string]")
    .option("--cap <size:string>", "Size that the cache may keep", { default: "8G" })
    .option("--all", "All images, in use or not")
    .action(async function (options, ...names) {
      refuseFlags(names, this);
      const { cap, all } = options;
      asUsage(() => bytes(cap, "--cap"));
      const build: BuildOptions = await buildContext();
      let count = 0;
      let freed = 0;
      for (const name of names.length > 0 ? names : [undefined]) {
        const result = await cleanImages({
          cap,
          ...all && { all },
          ...name !== undefined && { name },
        }, build);
        count += result.removed.length;
        freed += result.freed;
      }
      print(`removed ${count} folder${count === 1 ? "" : "s"}, ${showBytes(freed)}\n`);
    });
}

function progress(name: string): (message: string, fraction?: number) => void {
  let last = "";
  return (message) => {
    if (message !== last) printError(`${escapeLine(name)}: ${escapeLine(message)}\n`);
    last = message;
  };
}
