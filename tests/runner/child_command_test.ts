import { assertEquals } from "@std/assert";
import { runFlags } from "../../src/runner/child_command.ts";

const MAIN = "file:///home/a/bell/main.ts";

Deno.test("runFlags() passes on what deno run was given, and nothing that concerns the parent alone", async (t) => {
  const rows: [string, string, string][] = [
    ["run -A main.ts run tests", "-A", "relative"],
    [
      "run -A --import-map=a.json --lock=b /home/a/bell/main.ts run",
      "-A --import-map=a.json --lock=b",
      "absolute",
    ],
    ["run --watch --inspect-brk --coverage=c -A ./main.ts", "-A", "dot"],
    [
      "run -q --allow-all --config deno.json file:///home/a/bell/main.ts x main.ts",
      "--allow-all --config deno.json",
      "url",
    ],
    ["-A main.ts", "-A", "without run"],
    ["task demo", "-A", "no script in sight"],
  ];
  for (const [words, flags, name] of rows) {
    await t.step(name, () => {
      assertEquals(runFlags(words.split(" "), MAIN).join(" "), `run -q ${flags} ${MAIN}`);
    });
  }
});
