// @ts-types="./std_msgpack.d.ts"
export * from "npm:deno-std@1.4.0/msgpack/mod.js";
