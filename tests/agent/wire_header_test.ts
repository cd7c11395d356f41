import { assertEquals } from "@std/assert";
import { WIRE_HEADER, wireHeader } from "../../scripts/generate_wire.ts";

Deno.test("wire_gen.h is what generate_wire.ts makes of messages.ts", async () => {
  assertEquals(await Deno.readTextFile(WIRE_HEADER), wireHeader());
});
