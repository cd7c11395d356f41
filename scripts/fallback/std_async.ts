// By file: `async/mod.js` of this release does not load.
// @ts-types="./std_async_deadline.d.ts"
export { deadline } from "npm:deno-std@1.4.0/async/deadline.js";
// @ts-types="./std_async_delay.d.ts"
export { delay } from "npm:deno-std@1.4.0/async/delay.js";
// @ts-types="./std_async_retry.d.ts"
export { retry, RetryError } from "npm:deno-std@1.4.0/async/retry.js";

export type { DeadlineOptions } from "./std_async_deadline.d.ts";
export type { DelayOptions } from "./std_async_delay.d.ts";
export type { RetryOptions } from "./std_async_retry.d.ts";
