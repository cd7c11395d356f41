/**
 * Fills `src/image/embed` with what the compiled belljar carries: the agent, and unless `--no-image`
 * is given the image "tiny". `src/image` reads it from there inside the program.
 */

import { agentBinary, buildContext, resolveImage } from "../src/image/mod.ts";

const TARGET = decodeURIComponent(new URL("../src/image/embed", import.meta.url).pathname);

async function compress(from: string, to: string): Promise<void> {
  const source = await Deno.open(from);
  await source.readable
    .pipeThrough(new CompressionStream("gzip"))
    .pipeTo((await Deno.create(to)).writable);
}

async function embedTiny(dir: string): Promise<void> {
  const image = await resolveImage("tiny", { onProgress: say });
  if (!image.kernel) throw new TypeError('The image "tiny" has no kernel');
  const folder = image.kernel.slice(0, image.kernel.lastIndexOf("/"));
  await Deno.mkdir(dir);
  await Deno.copyFile(`${folder}/image.json`, `${dir}/image.json`);
  for (const path of [image.kernel, ...image.initrds]) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    say(`compressing ${name}`);
    await compress(path, `${dir}/${name}.gz`);
  }
}

let last = "";
function say(message: string): void {
  // deno-lint-ignore no-console -- a command
  if (message !== last) console.error(`    ${message}`);
  last = message;
}

if (import.meta.main) {
  const context = await buildContext({ onProgress: say });
  await Deno.remove(TARGET, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  await Deno.mkdir(TARGET);
  const agent = `${TARGET}/agent-${context.arch}`;
  await Deno.copyFile(await agentBinary(context), agent);
  await Deno.chmod(agent, 0o755);
  if (!Deno.args.includes("--no-image")) await embedTiny(`${TARGET}/tiny-${context.arch}`);
}
