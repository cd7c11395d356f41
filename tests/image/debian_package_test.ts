import { assert, assertEquals } from "@std/assert";
import { findPackage, parseDepends } from "../../src/image/_debian_package.ts";
import { findProgram } from "../../src/image/_tool.ts";

Deno.test("parseDepends() reads names, the first of alternatives", () => {
  assertEquals(
    parseDepends(
      "kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120) | linux-initramfs-tool, a:any",
    ),
    ["kmod", "linux-base", "initramfs-tools", "a"],
  );
  assertEquals(parseDepends(""), []);
});

Deno.test({
  name: "findPackage() takes the first that the distribution has",
  ignore: await findProgram("apt-cache") === undefined,
  fn: async () => {
    const found = await findPackage(["belljar-no-such-package", "dpkg"]);
    assert("name" in found, JSON.stringify(found));
    assertEquals(found.name, "dpkg");
    assert(found.version !== "" && found.depends.length > 0);
  },
});

Deno.test({
  name: "findPackage() says what to do when there is none",
  ignore: await findProgram("apt-cache") === undefined,
  fn: async () => {
    const found = await findPackage(["belljar-no-such-package"]);
    assert("reason" in found);
    assertEquals(found.reason, "the package lists have none of belljar-no-such-package");
    assert(found.next.includes("apt-get update"), found.next);
  },
});
