/**
 * Boots virtual machines from TypeScript tests, drives them, and leaves nothing behind.
 *
 * @module
 */
import "./runner/install_deno_bridge.ts";

export * from "./errors.ts";
export {
  afterAll,
  afterEach,
  type Assertions,
  type Attachable,
  beforeAll,
  beforeEach,
  defineFile,
  type DefineTest,
  type EachHookFunction,
  type FileOptions,
  type HookFunction,
  LeakError,
  type Requirements,
  SkipError,
  type Test,
  test,
  TestContext,
  type TestFunction,
  type TestMeta,
  TestTimeoutError,
  todo,
} from "./dsl/mod.ts";
export * from "./lab/mod.ts";
export * from "./jobs/mod.ts";
export { type BelljarConfig, defineConfig } from "./runner/config.ts";
export type { Image, ImageDefinition, ImageDefinitions } from "./image/mod.ts";
export { type CloseFailure, type Registration, Scope, ScopeError, type Site } from "./scope/mod.ts";
export type { Duration, SignalLike, Size } from "./values/mod.ts";
