import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { createJobTable, pruneOrphanedOutput } from "../../src/jobs/mod.ts";
import { startScript } from "./_child.ts";
import { setEventSink } from "../../src/scope/mod.ts";

const encoder = new TextEncoder();

async function tempDir(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.realPath(await Deno.makeTempDir());
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

async function tree(dir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    found.push(name);
    if (isDirectory) found.push(...(await tree(`${dir}/${name}`)).map((sub) => `${name}/${sub}`));
  }
  return found.sort();
}

async function ownerDir(root: string): Promise<string> {
  const [name] = (await tree(root)).filter((entry) => /^\d+-[0-9a-f]{16}$/.test(entry));
  return `${root}/${name}`;
}

Deno.test("jobs #70 nothing is written unless it was asked for when the job began", async () => {
  await using dir = await tempDir();
  await using jobs = createJobTable({ outputDir: dir.path, persistOutputFiles: false });
  const gate = Promise.withResolvers<{ stdout: string }>();
  const job = jobs.register("task", gate.promise);
  assertEquals(jobs.persistOutputFiles, false);
  jobs.persistOutputFiles = true;
  gate.resolve({ stdout: "x" });
  assertEquals((await job.wait()).outputFile, undefined);
  assertEquals(await tree(dir.path), []);
});

Deno.test("jobs #71 the file is there when the status says so, whoever waits", async () => {
  await using dir = await tempDir();
  await using jobs = createJobTable({ outputDir: dir.path });
  const ended = Promise.withResolvers<string | undefined>();
  using _listening = jobs.onChange((info) => {
    if (info.state === "done") ended.resolve(info.outputFile);
  });
  jobs.register("task", Promise.resolve({ stdout: "x" }));
  const path = await ended.promise;
  assert((await Deno.stat(path!)).isFile);
});

Deno.test("jobs #72 the file has command, status and both outputs", async () => {
  await using dir = await tempDir();
  await using jobs = createJobTable({ outputDir: dir.path });
  const job = jobs.register(
    'x "y"',
    Promise.resolve({ exitCode: 2, stdout: "a\n", stderr: "b" }),
  );
  const { outputFile } = await job.wait();
  assertEquals(
    outputFile,
    `${await ownerDir(dir.path)}/session_${jobs.sessionId}_job_1.${Deno.pid}.txt`,
  );
  assertEquals(
    await Deno.readTextFile(outputFile!),
    '# Job 1: "x \\"y\\""\n# Status: failed:2\n\n## STDOUT\na\n\n## STDERR\nb\n',
  );
  const silent = jobs.register("only errors", Promise.resolve({ stderr: "b\n" }));
  assertEquals(
    await Deno.readTextFile((await silent.wait()).outputFile!),
    '# Job 2: "only errors"\n# Status: done:0\n\n## STDERR\nb\n',
  );
});

Deno.test("jobs #38 binary output goes to a file of its own, byte by byte", async () => {
  await using dir = await tempDir();
  await using jobs = createJobTable({ outputDir: dir.path });
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const job = jobs.register("binary", Promise.resolve({ stdoutBytes: bytes }));
  const { outputFile } = await job.wait();
  const file = outputFile!.replace(/\.txt$/, ".stdout.bin");
  assertEquals(await Deno.readFile(file), bytes);
  const name = file.split("/").at(-1);
  assert(
    (await Deno.readTextFile(outputFile!)).endsWith(`## STDOUT\n(binary: 256 bytes in ${name})\n`),
  );
});

Deno.test("jobs #73 a job without output has no file", async () => {
  await using dir = await tempDir();
  await using jobs = createJobTable({ outputDir: dir.path });
  const job = jobs.register("silent", Promise.resolve(3));
  assertEquals((await job.wait()).outputFile, undefined);
});

Deno.test("jobs #74 a link that somebody planted is not followed", async () => {
  await using dir = await tempDir();
  await using jobs = createJobTable({ outputDir: dir.path });
  await jobs.register("first", Promise.resolve({ stdout: "x" })).wait();
  const owner = await ownerDir(dir.path);
  const target = `${dir.path}/target`;
  await Deno.writeTextFile(target, "untouched");
  await Deno.symlink(target, `${owner}/session_${jobs.sessionId}_job_2.${Deno.pid}.txt`);
  const warnings: unknown[] = [];
  const previous = setEventSink((kind, fields) =>
    kind === "warning" && warnings.push(fields.message)
  );
  const result = await jobs.register("second", Promise.resolve({ stdout: "y" })).wait();
  setEventSink(previous);
  assertEquals([result.status, result.stdout, result.outputFile], ["done:0", "y", undefined]);
  assertEquals(warnings.length, 1);
  assertEquals(await Deno.readTextFile(target), "untouched");
  assertEquals((await Deno.stat(owner)).mode! & 0o777, 0o700);
  const first = `${owner}/session_${jobs.sessionId}_job_1.${Deno.pid}.txt`;
  assertEquals((await Deno.stat(first)).mode! & 0o777, 0o600);
});

Deno.test("jobs #69 two tables share a folder, and no file", async () => {
  await using dir = await tempDir();
  await using one = createJobTable({ outputDir: dir.path });
  await using two = createJobTable({ outputDir: dir.path });
  const first = await one.register("a", Promise.resolve({ stdout: "a" })).wait();
  const second = await two.register("b", Promise.resolve({ stdout: "b" })).wait();
  assertNotEquals(first.outputFile, second.outputFile);
  assertEquals((await tree(dir.path)).filter((name) => name.endsWith(".txt")).length, 2);
});

Deno.test("remove() and cleanup() take the files along unless they shall stay", async () => {
  await using dir = await tempDir();
  const jobs = createJobTable({ outputDir: dir.path });
  const files: string[] = [];
  for (let i = 0; i < 4; i++) {
    files.push((await jobs.register("x", Promise.resolve({ stdout: "x" })).wait()).outputFile!);
  }
  await jobs.remove(1);
  await jobs.remove(2, { keepFiles: true });
  jobs.cleanup();
  await jobs.shutdown();
  const left = await Promise.all(
    files.map((file) => Deno.stat(file).then(() => true, () => false)),
  );
  assertEquals(left, [false, true, false, false]);
});

/** Starts a process that writes one file and then waits to be killed. */
async function owner(
  root: string,
  prefix: string[] = [],
): Promise<Deno.ChildProcess & { file: string }> {
  const { child, printed } = await startScript("owner.ts", [root], prefix);
  return Object.assign(child, { file: printed });
}

Deno.test("jobs #75 what a killed process left is removed, what a live one has is kept", async () => {
  await using dir = await tempDir();
  const dead = await owner(dir.path);
  const live = await owner(dir.path);
  dead.kill("SIGKILL");
  await dead.status;
  const jobs = createJobTable({ outputDir: dir.path });
  await jobs.shutdown();
  assertEquals((await Deno.stat(live.file)).isFile, true);
  assertEquals(await Deno.stat(dead.file).then(() => true, () => false), false);
  const folders = await tree(dir.path);
  assertEquals(folders.filter((name) => !name.includes("/")).length, 1);
  live.kill("SIGKILL");
  await live.status;
});

/** Runs a program as the first of a pid namespace of its own, and ends it with that. */
const NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"];

const canUnshare = await new Deno.Command(NAMESPACE[0]!, {
  args: [...NAMESPACE.slice(1), "true"],
  stdout: "null",
  stderr: "null",
}).output().then(({ success }) => success, () => false);

Deno.test({
  name: "jobs #77 a live owner in another pid namespace is kept",
  ignore: !canUnshare,
  fn: async () => {
    await using dir = await tempDir();
    const live = await owner(dir.path, NAMESPACE);
    const { removed, kept } = await pruneOrphanedOutput(dir.path);
    assertEquals([removed, kept.length], [[], 1]);
    assert((await Deno.stat(live.file)).isFile);
    live.kill("SIGKILL");
    await live.status;
  },
});

Deno.test("jobs #79 what is not ours is never removed", async () => {
  await using dir = await tempDir();
  const dead = `${dir.path}/1700000000000-0123456789abcdef`;
  await Deno.mkdir(`${dead}/folder`, { recursive: true });
  await Deno.writeTextFile(`${dead}/owner.lock`, "");
  await Deno.writeTextFile(`${dead}/notes.12345.txt`, "mine");
  await Deno.writeTextFile(`${dead}/session_1_job_1.7.txt`, "old");
  await Deno.mkdir(`${dir.path}/1700000000001-0123456789abcdef`, { mode: 0o000 });
  await Deno.writeTextFile(`${dir.path}/notes.12345.txt`, "mine");
  const { removed, kept } = await pruneOrphanedOutput(dir.path);
  assertEquals(removed, [`${dead}/session_1_job_1.7.txt`]);
  assertEquals(kept.length, 2);
  await using jobs = createJobTable({ outputDir: dir.path });
  assertEquals((await jobs.register("x", Promise.resolve(0)).wait()).status, "done:0");
  assertEquals(await Deno.readTextFile(`${dead}/notes.12345.txt`), "mine");
  assertEquals(await Deno.readTextFile(`${dir.path}/notes.12345.txt`), "mine");
});

Deno.test("jobs #80 two that prune at once remove each file once", async () => {
  await using dir = await tempDir();
  for (let i = 0; i < 20; i++) {
    const dead = `${dir.path}/17000000000${String(i).padStart(2, "0")}-0123456789abcdef`;
    await Deno.mkdir(dead);
    await Deno.writeTextFile(`${dead}/owner.lock`, "");
    await Deno.writeFile(`${dead}/session_1_job_${i}.7.txt`, encoder.encode("old"));
  }
  const reports = await Promise.all([1, 2, 3].map(() => pruneOrphanedOutput(dir.path)));
  const removed = reports.flatMap((report) => report.removed);
  assertEquals(removed.length, new Set(removed).size);
  assertEquals(removed.filter((path) => path.endsWith(".txt")).length, 20);
  assertEquals(await tree(dir.path), []);
});
