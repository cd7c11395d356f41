import { assertEquals, assertThrows } from "@std/assert";
import {
  errnoName,
  errnoNumber,
  SignalError,
  signalName,
  signalNumber,
} from "../../src/values/mod.ts";

Deno.test("signalNumber() reads names in any form and numbers (jobs #33)", () => {
  assertEquals(["SIGTERM", "TERM", "term", 15].map((signal) => signalNumber(signal)), [
    15,
    15,
    15,
    15,
  ]);
  assertEquals(["SIGRTMIN+1", "SIGRTMAX", "SIGPOLL", 64].map((signal) => signalNumber(signal)), [
    35,
    64,
    29,
    64,
  ]);
});

Deno.test("signalNumber() refuses the rest, naming value or type (jobs #33)", async (t) => {
  const rows: [unknown, string][] = [
    ["BOGUS", '"BOGUS"'],
    ["", '""'],
    ["SIG", '"SIG"'],
    [{}, "got object"],
    [null, "got null"],
    [[], "got array"],
    [true, "got boolean"],
    [0, "Cannot use 0"],
    [-9, "Cannot use -9"],
    [65, "Cannot use 65"],
    [1.5, "Cannot use 1.5"],
    [NaN, "Cannot use NaN"],
  ];
  for (const [value, text] of rows) {
    await t.step(text, () => {
      const error = assertThrows(() => signalNumber(value as never), SignalError, text);
      assertEquals(error instanceof TypeError, true);
    });
  }
});

Deno.test("signalName() is the inverse of signalNumber()", () => {
  for (let number = 1; number <= 31; number++) {
    assertEquals(signalNumber(signalName(number)), number);
  }
  assertEquals(signalName(36), "SIGRTMIN+2" as Deno.Signal);
});

Deno.test("errnoName() and errnoNumber() agree", () => {
  assertEquals([errnoName(2), errnoName(11), errnoName(4095)], ["ENOENT", "EAGAIN", "E4095"]);
  assertEquals([errnoNumber("EACCES"), errnoNumber("ENOPE")], [13, undefined]);
});
