import { assertThrows } from "@std/assert";
import { checkImageDefinition, checkImageDefinitions } from "../../src/image/mod.ts";

Deno.test("checkImageDefinitions() takes every documented key", () => {
  const build = { run: ["make", "image"], inputs: ["src"], outputs: ["out/initrd"] };
  checkImageDefinitions({
    small: { base: "tiny", kernel: "bzImage", modulesDir: "modules", modules: ["dm_mod"] },
    own: { kernel: "bzImage", initrd: ["a.cpio", "b.cpio"], init: "own", cmdline: "debug", build },
    debian: {
      rootfs: "rootfs.tar",
      size: "2G",
      init: "systemd",
      start: "early",
      cmdlineFile: "cmdline",
    },
    cloud: { disk: "cloud.qcow2", format: "qcow2", kernel: "bzImage", initrd: "initrd" },
  });
});

Deno.test("checkImageDefinition() refuses what is wrong, by name", async (t) => {
  const rows: [unknown, string][] = [
    [{ rotfs: "x" }, 'did you mean "rootfs"?'],
    [{ kernel: "x" }, 'expected one of the keys "base", "rootfs", "disk", "initrd", got "kernel"'],
    [{}, "expected one of the keys"],
    [{ rootfs: "x", sise: "1G" }, 'Unknown option "sise" for image "it": did you mean "size"?'],
    [{ rootfs: 3 }, 'rootfs of image "it" must be a string, got 3'],
    [{ initrd: "x", init: "systemd" }, "must be"],
    [{ initrd: [] }, "must be a path or an array of paths"],
    [{ initrd: "x", modules: "dm_mod" }, "must be an array of strings"],
    [{ disk: "x", format: "vmdk" }, "must be"],
    [{ base: "tini" }, "must be"],
    [{ base: "tiny", cmdline: "a", cmdlineFile: "b" }, 'both "cmdline" and "cmdlineFile"'],
    [{ base: "tiny", build: "make" }, 'must be an object with "run" and "inputs"'],
    [{ base: "tiny", build: { run: "make" } }, 'lacks the key "inputs"'],
    [{ base: "tiny", build: { run: 3, inputs: [] } }, "must be a command"],
    [{ base: "tiny", build: { run: "make", input: [] } }, 'did you mean "inputs"?'],
    [[], "must be an object"],
    ["tiny", "must be an object"],
  ];
  for (const [definition, message] of rows) {
    await t.step(JSON.stringify(definition), () => {
      assertThrows(() => checkImageDefinition("it", definition), TypeError, message);
    });
  }
});

Deno.test("checkImageDefinition() refuses a size that is none", () => {
  assertThrows(() => checkImageDefinition("it", { rootfs: "x", size: "2 Gb" }), RangeError, "2 Gb");
});

Deno.test("checkImageDefinitions() refuses names that mean something else", () => {
  assertThrows(() => checkImageDefinitions({ tiny: { base: "tiny" } }), TypeError, "is built in");
  assertThrows(() => checkImageDefinitions({ agent: { base: "tiny" } }), TypeError, "is reserved");
});
