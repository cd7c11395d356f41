/** Imported for its effect: under `deno test`, belljar's tests become Deno's. @module */
import { installDenoBridge } from "./deno_bridge.ts";

installDenoBridge();
