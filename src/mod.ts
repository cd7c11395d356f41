/**
 * Boots virtual machines from TypeScript tests, drives them, and leaves nothing behind.
 *
 * @module
 */
import "./runner/install_deno_bridge.ts";

export {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  defineFile,
  test,
  TestContext,
  todo,
} from "./dsl/mod.ts";
