/**
 * Boots virtual machines from TypeScript tests, drives them, and leaves nothing behind.
 *
 * @module
 */
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
