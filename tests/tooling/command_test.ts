// deno-lint-ignore-file no-console -- it reads what a command prints
/** What `@cliffy/command` and its stand-in must both do. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Command, EnumType, ValidationError } from "@cliffy/command";
import { CompletionsCommand } from "@cliffy/command/completions";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;

/** Compiles only where both types are the same. */
function same<A, B>(_: Same<A, B>): void {}

/** A small command tree that records what its actions were given. */
function makeTree(calls: unknown[][]) {
  const run = new Command<{ color: boolean; quiet?: true }>()
    .description("Run tests")
    .type("accel", new EnumType(["auto", "kvm", "tcg"]))
    .env("BELLJAR_TEST_JOBS=<n:integer>", "Jobs", { prefix: "BELLJAR_TEST_" })
    .arguments("[paths...:file]")
    .option("-j, --jobs <n:integer>", "Jobs", { default: 2 })
    .option("--accel <mode:accel>", "Accelerator")
    .option("--tag <t:string>", "Tag", { collect: true })
    .option("--fail-fast", "Stop at the first failure")
    .option("--shuffle [seed:integer]", "Shuffle")
    .option("--limit <text:string>", "Limit", { value: (text) => text.length })
    .option("-v, --verbose", "Say more", { conflicts: ["quiet"] })
    .example("All", "belljar run")
    .action((options, ...paths) => {
      const jobs: number = options.jobs;
      const accel: "auto" | "kvm" | "tcg" | undefined = options.accel;
      const tags: string[] | undefined = options.tag;
      const failFast: true | undefined = options.failFast;
      const shuffle: number | true | undefined = options.shuffle;
      const color: boolean = options.color;
      const limit: number | undefined = options.limit;
      same<typeof paths, string[]>(true);
      calls.push(["run", { jobs, accel, tags, failFast, shuffle, color, limit }, ...paths]);
    });
  const exec = new Command()
    .arguments("<image:string> [cpus:integer]")
    .action(function (_options, image, cpus) {
      same<typeof image, string>(true);
      same<typeof cpus, number | undefined>(true);
      calls.push(["exec", image, cpus, this.getLiteralArgs()]);
    });
  const list = new Command().action(() => {
    calls.push(["image list"]);
  });
  const image = new Command().description("Images").command("list", list);
  return new Command()
    .name("belljar")
    .version("0.1.0")
    .description("Boots machines")
    .throwErrors()
    .globalOption("--no-color", "No colours")
    .globalOption("-q, --quiet", "Say less")
    .arguments("[paths...:string]")
    .action((options, ...paths) => {
      const color: boolean = options.color;
      const quiet: true | undefined = options.quiet;
      calls.push(["root", { color, quiet }, ...paths]);
    })
    .command("run", run)
    .command("exec", exec)
    .command("image", image);
}

const RUN_DEFAULTS = {
  jobs: 2,
  accel: undefined,
  tags: undefined,
  failFast: undefined,
  shuffle: undefined,
  color: true,
  limit: undefined,
};

Deno.test("Command reads options, operands and literals", async (t) => {
  const rows: [string, unknown[]][] = [
    ["run", ["run", RUN_DEFAULTS]],
    ["run a b", ["run", RUN_DEFAULTS, "a", "b"]],
    ["run a -j 3 b", ["run", { ...RUN_DEFAULTS, jobs: 3 }, "a", "b"]],
    ["run --jobs=4 --accel tcg", ["run", { ...RUN_DEFAULTS, jobs: 4, accel: "tcg" }]],
    ["run --tag a --tag=b", ["run", { ...RUN_DEFAULTS, tags: ["a", "b"] }]],
    ["run --fail-fast --shuffle", ["run", { ...RUN_DEFAULTS, failFast: true, shuffle: true }]],
    ["run --shuffle 7", ["run", { ...RUN_DEFAULTS, shuffle: 7 }]],
    ["run --limit abcd", ["run", { ...RUN_DEFAULTS, limit: 4 }]],
    ["run --no-color x", ["run", { ...RUN_DEFAULTS, color: false }, "x"]],
    ["--no-color run x", ["run", { ...RUN_DEFAULTS, color: false }, "x"]],
    ["a.test.ts", ["root", { color: true, quiet: undefined }, "a.test.ts"]],
    ["-q a b", ["root", { color: true, quiet: true }, "a", "b"]],
    ["", ["root", { color: true, quiet: undefined }]],
    ["exec tiny", ["exec", "tiny", undefined, []]],
    ["exec tiny 2 -- ls -la -- x", ["exec", "tiny", 2, ["ls", "-la", "--", "x"]]],
    ["image list", ["image list"]],
  ];
  for (const [line, expected] of rows) {
    await t.step(`belljar ${line}`, async () => {
      const calls: unknown[][] = [];
      await makeTree(calls).parse(line.split(" ").filter(Boolean));
      assertEquals(calls, [expected]);
    });
  }
});

Deno.test("Command refuses wrong use with status 2", async (t) => {
  const rows = [
    ["run --jobs x", "jobs"],
    ["run -j", "jobs"],
    ["run --accel xen", "kvm"],
    ["run -j 1 -j 2", "-j"],
    ["run -v -q", "quiet"],
    ["run --fail-fast=1", "fail-fast"],
    ["exec", "image"],
    ["exec tiny 1 2", ""],
    ["exec tiny many", "integer"],
    ["image lost", "lost"],
    ["image list lost", ""],
  ] as const;
  for (const [line, part] of rows) {
    await t.step(`belljar ${line}`, async () => {
      const calls: unknown[][] = [];
      const error = await assertRejects(
        () => makeTree(calls).parse(line.split(" ")),
        ValidationError,
        part,
      );
      assertEquals(error.exitCode, 2);
      assertEquals(calls, []);
    });
  }
});

Deno.test("Command takes the environment below flags and above defaults", async () => {
  Deno.env.set("BELLJAR_TEST_JOBS", "9");
  try {
    const calls: unknown[][] = [];
    await makeTree(calls).parse(["run"]);
    await makeTree(calls).parse(["run", "-j", "1"]);
    assertEquals(calls.map(([, options]) => (options as { jobs: number }).jobs), [9, 1]);
  } finally {
    Deno.env.delete("BELLJAR_TEST_JOBS");
  }
});

Deno.test("Command hands what an action throws to the caller", async () => {
  const tree = new Command().name("x").throwErrors().action(() => {
    throw new RangeError("inside");
  });
  await assertRejects(() => tree.parse([]), RangeError, "inside");
});

Deno.test("Command shows every option and command in its help", () => {
  const tree = makeTree([]);
  const help = tree.getHelp();
  for (const part of ["belljar", "run", "exec", "image", "--no-color", "--quiet"]) {
    assertStringIncludes(help, part);
  }
  const run = tree.getCommands().find((command) => command.getName() === "run")?.getHelp() ?? "";
  for (const part of ["--jobs", "--accel", "--fail-fast", "--shuffle", "belljar run"]) {
    assertStringIncludes(run, part);
  }
});

Deno.test("CompletionsCommand prints a script that its shell accepts", async (t) => {
  for (const shell of ["bash", "zsh", "fish"]) {
    await t.step(shell, async () => {
      const script = await printed(() =>
        makeTree([]).command("completions", new CompletionsCommand()).parse(["completions", shell])
      );
      assertStringIncludes(script, "belljar");
    });
  }
  await t.step("bash parses it", async () => {
    const script = await printed(() =>
      makeTree([]).command("completions", new CompletionsCommand()).parse(["completions", "bash"])
    );
    const bash = new Deno.Command("bash", { args: ["-n"], stdin: "piped", stderr: "piped" })
      .spawn();
    const writer = bash.stdin.getWriter();
    await writer.write(new TextEncoder().encode(script));
    await writer.close();
    const { success, stderr } = await bash.output();
    assertEquals([success, new TextDecoder().decode(stderr)], [true, ""]);
  });
});

/** What `fn` prints by `console.log`. */
async function printed(fn: () => Promise<unknown>): Promise<string> {
  const { log } = console;
  const lines: string[] = [];
  console.log = (line: string) => lines.push(line);
  try {
    await fn();
  } finally {
    console.log = log;
  }
  return lines.join("\n");
}
