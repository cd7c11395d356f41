import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

const ROOT = decodeURIComponent(new URL("../..", import.meta.url).pathname);

interface Run {
  status: number;
  stdout: string;
  stderr: string;
}

async function run(
  command: string,
  args: string[],
  options: { env?: Record<string, string>; clearEnv?: boolean } = {},
): Promise<Run> {
  const output = await new Deno.Command(command, { args, cwd: ROOT, stdin: "null", ...options })
    .output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { status: output.code, stdout: text(output.stdout), stderr: text(output.stderr) };
}

async function deps(source: string, ...args: string[]): Promise<Run> {
  const flags = ["run", "-A", "-q", "--no-config", "--no-lock", "scripts/deps.ts", ...args];
  return await run(Deno.execPath(), flags, { env: { BELLJAR_DEPS: source, NO_COLOR: "1" } });
}

Deno.test("deps.ts prints nothing for jsr and the map with its lock for npm", async () => {
  assertEquals((await deps("jsr")).stdout, "\n");
  assertEquals(
    (await deps("npm")).stdout,
    "--import-map=scripts/fallback/import_map.json --lock=scripts/fallback/deno.lock\n",
  );
});

Deno.test("deps.ts refuses another source by name", async () => {
  const { status, stderr } = await deps("yarn");
  assertEquals(status, 1);
  assertStringIncludes(stderr, 'Cannot use BELLJAR_DEPS="yarn": expected "jsr" or "npm"');
});

Deno.test("deps.ts --test turns the leak checks on where this Deno has them off", async () => {
  const minor = Number(Deno.version.deno.split(".")[1]);
  const expected = minor >= 8 ? "--sanitize-ops --sanitize-resources\n" : "\n";
  assertEquals((await deps("jsr", "--test")).stdout, expected);
});

Deno.test("the import map of the fallback has every import of deno.json", async () => {
  const read = async (path: string) => JSON.parse(await Deno.readTextFile(`${ROOT}/${path}`));
  const { imports } = await read("deno.json");
  const fallback = (await read("scripts/fallback/import_map.json")).imports;
  for (const name of Object.keys(imports)) {
    const found = Object.keys(fallback).some((key) => key === name || key.startsWith(`${name}/`));
    assertEquals([name, found], [name, true]);
  }
  assertEquals(fallback["@swc/wasm-typescript"], imports["@swc/wasm-typescript"]);
});

/** Sources the shell functions, runs `script`, and returns what that came to. */
async function shell(script: string, env: Record<string, string> = {}): Promise<Run> {
  return await run("bash", ["-c", `. scripts/common.sh; . scripts/counts.sh; ${script}`], { env });
}

Deno.test("tests() adds up what suites print last", async (t) => {
  const rows: [string, string, string, number][] = [
    [
      "Deno's line",
      "echo 'ok | 3 passed (2 steps) | 0 failed | 1 ignored (4ms)'",
      "3 passed, 0 failed, 1 skipped",
      0,
    ],
    [
      "Deno's line, in colour",
      "printf '\\e[31mFAILED\\e[0m | 1 passed | 2 failed (1 step)\\n'; false",
      "1 passed, 2 failed",
      1,
    ],
    ["a plain line", "echo '7 passed, 0 failed, 2 skipped'", "7 passed, 0 failed, 2 skipped", 0],
    [
      "belljar's line",
      "echo 'PASSED 4 passed, 1 flaky, 2 skipped in 3 files, 40 ms'",
      "5 passed, 0 failed, 2 skipped",
      0,
    ],
    [
      "belljar's line with failures",
      "echo 'FAILED 1 passed, 2 failed, 1 file failed in 3 files, 40 ms'; exit 1",
      "1 passed, 3 failed",
      1,
    ],
    [
      "the last of several",
      "echo '9 passed, 9 failed'; echo '2 passed, 0 failed'",
      "2 passed, 0 failed",
      0,
    ],
    [
      "a failure that is not counted",
      "echo 'ok | 3 passed | 0 failed'; exit 3",
      "3 passed, 1 failed",
      1,
    ],
    ["no count at all", "echo nothing", "0 passed, 1 failed", 1],
    ["a crash before any count", "kill -9 $$", "0 passed, 1 failed", 1],
  ];
  for (const [name, command, expected, status] of rows) {
    await t.step(name, async () => {
      const script = `tests "suite" bash -c ${
        JSON.stringify(command).replaceAll("$", "\\$")
      }; finish`;
      const found = await shell(script);
      assertEquals(found.stdout.trimEnd().split("\n").at(-1), expected);
      assertEquals(found.status, status);
    });
  }
});

Deno.test("check() counts a step as one and goes on after a failure", async () => {
  const found = await shell('check "good" true; check "bad" false; check "late" true; finish');
  assertEquals(found.status, 1);
  assertEquals(found.stdout.trimEnd().split("\n").slice(-3), [
    "Failed:",
    "  bad: 1 failed",
    "2 passed, 1 failed",
  ]);
  assertMatch(found.stdout, /done in \d+\.\d s: good/);
});

Deno.test("beside counts what ran, shows it unmixed, and fails for a file that fails, crashes or counts nothing", async () => {
  const line = (file: string) => `for i in 1 2 3; do echo "$1 $i"; sleep 0.01; done; ${file}`;
  const script = line(`case $1 in
    good) echo "ok | 2 passed (3 steps) | 0 failed | 1 ignored (4ms)" ;;
    bad) echo "FAILED | 1 passed | 2 failed (4ms)"; exit 1 ;;
    crash) echo "ok | 1 passed | 0 failed (4ms)"; exit 139 ;;
    silent) ;;
  esac`);
  const command = ["bash", "-c", script, "sh", "--"];
  const good = await run("scripts/beside", [...command, "good", "good"], { env: { LANES: "2" } });
  assertEquals([good.status, good.stdout.trimEnd().split("\n").at(-1)], [
    0,
    "4 passed, 0 failed, 2 skipped",
  ]);
  const all = await run("scripts/beside", [...command, "good", "bad", "crash", "silent"]);
  assertEquals(all.status, 1);
  for (const name of ["good", "bad", "crash", "silent"]) {
    assertStringIncludes(all.stdout, `${name} 1\n${name} 2\n${name} 3\n`);
  }
  assertStringIncludes(all.stdout, "  bad: 2 failed\n");
  assertStringIncludes(all.stdout, "  crash: 1 failed\n");
  assertStringIncludes(all.stdout, "  silent: 1 failed\n");
  assertMatch(all.stdout, /\n4 passed, 4 failed, 1 skipped\n$/);
});

Deno.test("find_deno() refuses a BELLJAR_DENO that is no Deno", async () => {
  const found = await shell("find_deno", { BELLJAR_DENO: "/bin/false" });
  assertEquals(found.status, 1);
  assertStringIncludes(found.stderr, 'BELLJAR_DENO is "/bin/false": that cannot be run as Deno');
});

Deno.test("scripts/setup --check lists exactly what is missing, and installs nothing", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const tools = "bash dirname id uname sed find head gcc xz cpio zstd lz4 xmllint prove".split(
      " ",
    );
    for (const tool of tools) {
      const path = await run("sh", ["-c", `command -v ${tool}`]);
      await Deno.symlink(path.stdout.trim() || "/bin/true", `${dir}/${tool}`);
    }
    const found = await run("/bin/bash", ["scripts/setup", "--check"], {
      env: { PATH: dir, HOME: dir },
      clearEnv: true,
    });
    assertEquals(found.status, 1, found.stderr);
    const lines = found.stdout.trimEnd().split("\n").map((line) => line.trim().split(" ")[0]);
    const packages = lines.slice(1).filter((name) => !/libc|ca-cert|e2fs|kmod/.test(name ?? ""));
    const qemu = Deno.build.arch === "aarch64" ? "qemu-system-arm" : "qemu-system-x86";
    assertEquals(packages, [qemu, "musl-tools", "busybox-static", "deno", "nodejs", "npm"]);
    assertEquals(
      await Array.fromAsync(Deno.readDir(dir), ({ name }) => name).then((n) => n.length),
      tools.length,
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("scripts refuse unknown arguments with status 2", async (t) => {
  const rows = [
    [
      "scripts/setup",
      "--chek",
      'unknown argument "--chek": expected --check, --services or nothing',
    ],
    ["scripts/test", "units", 'unknown suite "units": expected some of fmt lint'],
    ["scripts/compile", "--noimage", 'unknown argument "--noimage": expected --no-image'],
    ["scripts/demo", "x", 'unknown argument "x": expected nothing'],
  ] as const;
  for (const [script, argument, expected] of rows) {
    await t.step(`${script} ${argument}`, async () => {
      const found = await run(script, [argument]);
      assertEquals(found.status, 2);
      assertStringIncludes(found.stderr, expected);
    });
  }
});
