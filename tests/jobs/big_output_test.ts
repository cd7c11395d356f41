import { assert, assertEquals } from "@std/assert";
import { startScript } from "./_child.ts";

for (const place of ["host", "agent"]) {
  Deno.test(`jobs #39 on the ${place}: 1 GiB of output needs little memory`, async () => {
    const { child, printed } = await startScript("gigabyte.ts", [place]);
    assert((await child.status).success);
    const { status, growth, slowest, ...stats } = JSON.parse(printed);
    assertEquals(status, "done:0");
    assertEquals(stats, {
      currentSize: 1_048_576,
      maxSize: 1_048_576,
      totalWritten: 1_073_741_824,
      bytesEvicted: 1_072_693_248,
      closed: true,
    });
    assert(growth < 64 * 1024 * 1024, `the memory grew by ${growth} bytes`);
    assert(slowest < 2_000, `a poll of another job took ${slowest} ms`);
  });
}
