import { assertEquals } from "@std/assert";
import { dropHugePages, withHugePages } from "../../src/runner/huge_pages.ts";

const NAME = "GLIBC_TUNABLES";

Deno.test("a file's process takes the setting for its start out of the environment, and no other", () => {
  const own = Deno.env.get(NAME);
  try {
    Deno.env.delete(NAME);
    const given = withHugePages();
    assertEquals(Object.keys(given), [NAME]);
    Deno.env.set(NAME, given[NAME]!);
    dropHugePages();
    assertEquals(Deno.env.get(NAME), undefined);
    Deno.env.set(NAME, "glibc.malloc.check=3");
    assertEquals(withHugePages(), {});
    dropHugePages();
    assertEquals(Deno.env.get(NAME), "glibc.malloc.check=3");
  } finally {
    if (own === undefined) Deno.env.delete(NAME);
    else Deno.env.set(NAME, own);
  }
});
