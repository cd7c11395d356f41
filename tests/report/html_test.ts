import { assert, assertEquals, assertFalse, assertLess, assertStringIncludes } from "@std/assert";
import type { BelljarEvent } from "../../src/report/mod.ts";
import { type BrowserPage, findChromium, openPage } from "./_browser.ts";
import { event, report, sampleRun } from "./_events.ts";

const chromium = await findChromium();

/** Runs `fn` with a page that shows the report of these events. */
async function shown(
  events: readonly BelljarEvent[],
  fn: (page: BrowserPage) => Promise<void>,
  flags?: string[],
): Promise<void> {
  const path = await Deno.makeTempFile({ suffix: ".html" });
  try {
    await Deno.writeTextFile(path, await report("html", events));
    await using page = await openPage(chromium!, `file://${path}`, flags);
    assertEquals(await page.evaluate("document.documentElement.dataset.ready"), "yes");
    await fn(page);
    assertEquals(page.messages, []);
  } finally {
    await Deno.remove(path);
  }
}

function manyTests(count: number): BelljarEvent[] {
  const file = "tests/many.test.ts";
  return Array.from({ length: count }, (_, i) => {
    const test = `test number ${i} with a name of usual length`;
    return [
      event("test_started", { file, test, meta: {}, attempt: 1, timeoutMs: 1000 }),
      ...Array.from(
        { length: 10 },
        (_, n) =>
          event("op", {
            file,
            test,
            vm: "db",
            op: `run("command ${n} with some arguments")`,
            startMs: 0,
            durationMs: 5,
            ok: true,
          }),
      ),
      event("log", { file, test, stream: "stdout", text: "a line of output\n".repeat(20) }),
      event("test_finished", {
        file,
        test,
        status: "passed",
        meta: { tags: ["many"] },
        attempt: 1,
        durationMs: 60,
      }),
    ];
  }).flat();
}

Deno.test("html stays below 5 MB for 1,000 tests", async () => {
  assertLess((await report("html", manyTests(1000))).length, 5_000_000);
});

Deno.test("html holds hostile text as data that cannot leave its script", async () => {
  const text = await report("html", sampleRun());
  assertFalse(text.includes("<script>alert"));
  assertEquals(text.match(/<script/g)?.length, 2);
  const data = /id="data">(.*)<\/script>/.exec(text)![1]!;
  assertStringIncludes(JSON.parse(data).tests[0].error.message, "a<script>alert(1)</script> ]]>");
});

const browserTest = (name: string, fn: () => Promise<void>) =>
  Deno.test({ name, ignore: chromium === undefined, fn });

browserTest(
  "html in Chromium shows failures first, and a failing test's timeline",
  () =>
    shown(sampleRun(), async (page) => {
      const rows =
        "[...document.querySelectorAll('tr.row')].map((row) => row.querySelector('.status').textContent)";
      assertEquals(await page.evaluate(rows), ["failed", "failed", "flaky", "passed", "skipped"]);
      await page.evaluate("location.hash = '#t0'");
      await page.evaluate("new Promise((resolve) => requestAnimationFrame(resolve))");
      const text = String(await page.evaluate("document.querySelector('main').innerText"));
      for (
        const part of [
          "AssertionError: Values are not equal",
          "at tests/helper.ts:5:3",
          "Timeline",
          "In progress",
          "Output",
          "Run again",
        ]
      ) assertStringIncludes(text, part);
      assertFalse(/\[object|^null$|undefined/m.test(text), text);
      const lanes = await page.evaluate(
        "[...document.querySelectorAll('.lane > span')].map((lane) => lane.textContent)",
      );
      assertEquals(lanes, ["machines", "output"]);
      assertEquals(await page.evaluate("document.querySelectorAll('script').length"), 2);
    }),
);

browserTest(
  "html in Chromium can be used by keyboard alone",
  () =>
    shown(sampleRun(), async (page) => {
      await page.press("j");
      await page.press("ArrowDown");
      assertEquals(await page.evaluate("document.activeElement.dataset.id"), "2");
      await page.press("Enter");
      assertEquals(await page.evaluate("location.hash"), "#t2");
      await page.press("Escape");
      await page.evaluate("new Promise((resolve) => requestAnimationFrame(resolve))");
      assertEquals(await page.evaluate("document.activeElement.dataset.id"), "2");
      await page.press("/");
      for (const key of "shaky") await page.press(key);
      assertEquals(
        await page.evaluate("document.getElementById('count').textContent"),
        "1 of 5 tests",
      );
    }),
);

browserTest(
  "html in Chromium filters by status, tag and file",
  () =>
    shown(sampleRun(), async (page) => {
      const choose = (label: string, value: string) =>
        page.evaluate(`{ const select = document.querySelector('select[aria-label="${label}"]');
        select.value = ${JSON.stringify(value)}; select.dispatchEvent(new Event("change"));
        document.getElementById("count").textContent }`);
      assertEquals(await choose("Status", "failed"), "2 of 5 tests");
      assertEquals(await choose("Tag", "a"), "2 of 5 tests");
      assertEquals(await choose("Status", ""), "5 of 5 tests");
      assertEquals(await choose("File", "tests/a.test.ts"), "5 of 5 tests");
    }),
);

browserTest("html in Chromium follows a dark system", async () => {
  const background = "getComputedStyle(document.body).backgroundColor";
  await shown(
    sampleRun(),
    async (page) => assertEquals(await page.evaluate(background), "rgb(255, 255, 255)"),
  );
  await shown(
    sampleRun(),
    async (page) => assertEquals(await page.evaluate(background), "rgb(20, 23, 28)"),
    ["--blink-settings=preferredColorScheme=0"],
  );
});

browserTest("html in Chromium shows 1,000 tests", () =>
  shown(manyTests(1000), async (page) => {
    assertEquals(await page.evaluate("document.querySelectorAll('tr.row').length"), 1000);
    const ms = Number(
      await page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"),
    );
    assert(ms > 0);
  }));
