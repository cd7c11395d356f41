import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { bindToScope, currentScope, runScope, Scope, ScopeError } from "../../src/scope/mod.ts";

function recorder(): { order: string[]; opened: (scope: Scope, name: string) => void } {
  const order: string[] = [];
  return {
    order,
    opened: (scope, name) =>
      void scope.register({ kind: "thing", name, close: () => void order.push(name) }),
  };
}

Deno.test("Scope closes newest first, across kinds", async () => {
  const { order, opened } = recorder();
  const scope = new Scope("t");
  opened(scope, "a");
  scope.defer(() => void order.push("b"));
  scope.use({ [Symbol.dispose]: () => void order.push("c") });
  opened(scope, "d");
  const report = await scope.close();
  assertEquals(order, ["d", "c", "b", "a"]);
  assertEquals(report.closed.map((item) => item.kind), ["thing", "disposable", "defer", "thing"]);
  assertEquals(report.error, undefined);
});

Deno.test("Scope closes all when one closer throws and one hangs, and names each with its site", async () => {
  const { order, opened } = recorder();
  const scope = new Scope("t");
  opened(scope, "first");
  scope.register({ kind: "file", name: "/a", close: () => Promise.reject(new Error("disk gone")) });
  scope.register({ kind: "process", name: "214", limitMs: 20, close: () => new Promise(() => {}) });
  opened(scope, "last");
  const { error, failures } = await scope.close();
  assertEquals(order, ["last", "first"]);
  assertEquals(failures.map((item) => item.name), ["214", "/a"]);
  assert(error instanceof ScopeError);
  assertEquals(error.errors.length, 2);
  assertStringIncludes(error.message, "2 of 4 resources failed");
  assertStringIncludes(error.message, "disk gone");
  assertStringIncludes(error.message, "Not closed within 20 ms");
  assertStringIncludes(error.message, "scope_test.ts:");
});

Deno.test("Scope closers run under a fresh signal that aborts at their limit", async () => {
  const scope = new Scope("t");
  let seen: unknown;
  scope.register({
    kind: "process",
    name: "x",
    limitMs: 10,
    close: (signal) =>
      new Promise<void>((resolve) =>
        signal.addEventListener("abort", () => {
          seen = signal.reason;
          resolve();
        })
      ),
  });
  await scope.close();
  assertEquals((seen as Error).name, "TimeoutError");
});

Deno.test("Scope.close() is shared by concurrent callers and closes once", async () => {
  const { order, opened } = recorder();
  const scope = new Scope("t");
  opened(scope, "a");
  const [one, two] = await Promise.all([scope.close(), scope.close()]);
  assert(one === two);
  assertEquals(order, ["a"]);
});

Deno.test("Scope closes at once what opens after it began to close, and refuses the opener", async () => {
  const { order, opened } = recorder();
  const scope = new Scope("t");
  scope.defer(() => {
    assertThrows(() => opened(scope, "late"), ScopeError, "has ended");
  });
  const report = await scope.close();
  assertEquals(report.failures, []);
  assertEquals(order, ["late"]);
  assertThrows(() => opened(scope, "later"), ScopeError);
  await Promise.resolve();
});

Deno.test("Scope lets a closer open what it needs and closes that after it", async () => {
  const { order, opened } = recorder();
  const scope = new Scope("t");
  scope.register({
    kind: "service",
    name: "db",
    close: () => {
      opened(currentScope(), "stop command");
      order.push("db");
    },
  });
  await scope.close();
  assertEquals(order, ["db", "stop command"]);
});

Deno.test("currentScope() follows helpers, timers and detached promises", async () => {
  const file = new Scope("f", { kind: "file" });
  const scope = new Scope("t", { parent: file });
  const seen: Scope[] = [];
  const detached = Promise.withResolvers<void>();
  const bound = scope.run(() => {
    setTimeout(() => {
      seen.push(currentScope());
      detached.resolve();
    }, 1);
    return bindToScope(() => seen.push(currentScope()));
  });
  await detached.promise;
  bound();
  assert(seen.every((item) => item === scope) && seen.length === 2);
  assert(currentScope() === runScope());
  await file.close();
});

Deno.test("Scope closes open child scopes before older resources of the parent", async () => {
  const { order, opened } = recorder();
  const file = new Scope("f", { kind: "file" });
  opened(file, "file");
  const test = new Scope("t", { parent: file });
  opened(test, "test");
  await file.close();
  assertEquals(order, ["test", "file"]);
  assert(test.closing);
});

Deno.test("Scope leaves out what its user released", async () => {
  const { order } = recorder();
  const scope = new Scope("t");
  const entry = scope.register({ kind: "x", name: "x", close: () => void order.push("x") });
  entry.release();
  entry.release();
  assertEquals((await scope.close()).closed, []);
  assertEquals(order, []);
});

Deno.test("Scope throws its ScopeError from asyncDispose", async () => {
  const scope = new Scope("t");
  scope.defer(() => {
    throw new Error("no");
  });
  await assertRejects(() => scope[Symbol.asyncDispose](), ScopeError, "1 of 1");
});

Deno.test("Scope reports what was forgotten apart from what scopes are meant to close", async () => {
  const scope = new Scope("t");
  scope.register({ kind: "machine", name: "v", close: () => {} });
  scope.register({ kind: "process", name: "1", close: () => {}, leaked: () => true });
  const { closed } = await scope.close();
  assertEquals(closed.map((item) => [item.kind, item.leaked]), [["process", true], [
    "machine",
    false,
  ]]);
});

Deno.test("Scope refuses defer() and use() of the wrong type", async () => {
  await using scope = new Scope("t");
  assertThrows(() => scope.defer(3 as never), TypeError, "got number");
  assertThrows(() => scope.use({} as never), TypeError, "Symbol.asyncDispose");
});
