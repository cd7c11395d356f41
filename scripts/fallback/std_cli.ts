// By file: `cli/mod.js` of this release does not load.
// @ts-types="./std_cli.d.ts"
export { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";

export type { Args, ParseOptions } from "./std_cli.d.ts";
