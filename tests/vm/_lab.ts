import { closeCurrentRun } from "../../src/host/mod.ts";
import { type BootOptions, lab, type Vm, type VmOptions } from "../../src/lab/mod.ts";
import { Scope, type ScopeReport } from "../../src/scope/mod.ts";

/** What a test gets besides the machine. */
export interface LabTest {
  /** Deno's own context, for steps. */
  t: Deno.TestContext;
  /** The scope that the test runs in; it is closed, and must close without failures, when the test is over. */
  scope: Scope;
}

/** Tests of a file that share one machine, which is booted by the first of them. */
export interface SharedMachine {
  test(name: string, fn: (vm: Vm, test: LabTest) => Promise<void>): void;
}

/** Boots one machine for the tests of the calling file. */
export function sharedMachine(
  name: string,
  options: VmOptions = {},
  boot: BootOptions = {},
): SharedMachine {
  const file = new Scope(`tests on ${name}`, { kind: "file" });
  let booted: Promise<Vm> | undefined;
  Deno.test.afterAll(async () => {
    await file[Symbol.asyncDispose]();
    await closeCurrentRun();
  });
  return {
    test(title, fn) {
      labTest(title, async (test) => {
        booted ??= file.run(() => lab.vm(name, "tiny", options).boot(boot));
        const vm = await booted;
        await test.scope.run(() => fn(vm, test));
      }, file);
    },
  };
}

/** A test in a scope of its own. */
export function labTest(title: string, fn: (test: LabTest) => Promise<void>, parent?: Scope): void {
  Deno.test({
    name: title,
    // Machines and their connections live as long as the file.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn(t) {
      await using scope = new Scope(title, { kind: "test", ...(parent ? { parent } : {}) });
      await scope.run(() => fn({ t, scope }));
    },
  });
}

/** Runs `fn` in a scope of its own and returns what happened at its end. */
export async function inScope(
  name: string,
  fn: (scope: Scope) => Promise<void>,
  parent?: Scope,
): Promise<ScopeReport> {
  const scope = new Scope(name, { kind: "test", ...(parent ? { parent } : {}) });
  try {
    await scope.run(() => fn(scope));
  } finally {
    await scope.close();
  }
  return await scope.close();
}

/** Closes the run of a file that starts machines of its own. */
export function closeRunAfterwards(): void {
  Deno.test.afterAll(closeCurrentRun);
}
