import { assertEquals, assertThrows } from "@std/assert";
import { makeOverlay } from "../../src/vmm/qemu/disks.ts";
import { qcow2Size } from "../../src/vmm/qemu/qcow2.ts";
import { startMonitor } from "./_qemu.ts";

interface Node {
  "node-name": string;
  image: {
    "virtual-size": number;
    "backing-filename"?: string;
    "backing-filename-format"?: string;
  };
}

Deno.test("makeOverlay() makes what QEMU takes as an overlay, also of an overlay", async () => {
  await using monitor = await startMonitor();
  const { qmp, dir } = monitor;
  await qmp.negotiate();
  const base = `${dir}/base.raw`;
  await Deno.writeFile(base, new Uint8Array(3 * 1024 * 1024 + 512));
  const first = await makeOverlay(dir, "first", { path: base, format: "raw" });
  const second = await makeOverlay(dir, "second", { path: first, format: "qcow2" });
  for (const [path, backing, format] of [[first, base, "raw"], [second, first, "qcow2"]]) {
    const id = `n${backing!.length}`;
    await qmp.execute("blockdev-add", {
      driver: "qcow2",
      "node-name": id,
      "read-only": true,
      file: { driver: "file", filename: path },
    });
    const nodes = await qmp.execute<Node[]>("query-named-block-nodes");
    const node = nodes.find((each) => each["node-name"] === id)!;
    assertEquals(node.image["virtual-size"], 3 * 1024 * 1024 + 512);
    assertEquals(node.image["backing-filename"], backing);
    assertEquals(node.image["backing-filename-format"], format);
  }
});

Deno.test("qcow2Size() refuses other files", () => {
  assertThrows(() => qcow2Size(new Uint8Array(32)), SyntaxError, "no qcow2");
  assertThrows(() => qcow2Size(new Uint8Array(4)), SyntaxError, "no qcow2");
});
