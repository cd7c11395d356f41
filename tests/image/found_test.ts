import { assertEquals } from "@std/assert";
import { Found } from "../../src/image/_found.ts";
import { makeTempDir } from "../host/_temp.ts";

Deno.test("Found looks again once a file is gone, and for each key", async () => {
  await using dir = await makeTempDir();
  const found = new Found<string>((path) => [path]);
  let looks = 0;
  const find = async () => {
    const path = `${dir.path}/${++looks}`;
    await Deno.writeTextFile(path, "");
    return path;
  };
  assertEquals(await found.get(["a", undefined], find), `${dir.path}/1`);
  assertEquals(await found.get(["a", undefined], find), `${dir.path}/1`);
  assertEquals(await found.get(["a", "b"], find), `${dir.path}/2`);
  await Deno.remove(`${dir.path}/1`);
  assertEquals(await found.get(["a", undefined], find), `${dir.path}/3`);
  assertEquals(await found.get(["a", "b"], find), `${dir.path}/2`);
});

Deno.test("Found keeps nothing of a look that failed", async () => {
  const found = new Found<string>(() => []);
  const failing = () => Promise.reject(new Error("not today"));
  const error = await found.get([], failing).catch((error: Error) => error.message);
  assertEquals(error, "not today");
  assertEquals(await found.get([], () => Promise.resolve("now")), "now");
});
