import { assertEquals } from "@std/assert";
import { BelljarError, GuestError } from "../src/errors.ts";

Deno.test("BelljarError shows what was expected, what was found and what to do", () => {
  const error = new BelljarError('Cannot run "mount /data" on machine "db"', {
    code: "LOST",
    expected: "a reply within 10 s",
    actual: "nothing\nat all",
    next: "raise `memory`",
    cause: "why",
  });
  assertEquals(
    error.message,
    `Cannot run "mount /data" on machine "db"
  expected: a reply within 10 s
  actual:   nothing
            at all
  next:     raise \`memory\``,
  );
  assertEquals([error.code, error.cause, error.summary], [
    "LOST",
    "why",
    'Cannot run "mount /data" on machine "db"',
  ]);
});

Deno.test("GuestError carries its facts as fields", () => {
  const error = new GuestError("Cannot stat", { errno: "ENOENT", op: "stat", path: "/x", vm: "m" });
  assertEquals([error.code, error.errno, error.op, error.path, error.vm, error.name], [
    "ENOENT",
    "ENOENT",
    "stat",
    "/x",
    "m",
    "GuestError",
  ]);
});
