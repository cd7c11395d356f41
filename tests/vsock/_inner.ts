/** The test that belljar runs in the outer machine, as the text of a file. It imports what any user's file would. */

/** Options for {@linkcode innerTest}. */
export interface InnerOptions {
  /** Address that the machine must have; any but those of hosts if missing. */
  cid?: number;
  /** Whether every operation has to have gone past the control port, as its agent counts. */
  boot: string;
}

/** Drives one machine by operations of every kind, and has its agent count what came over the control port. */
export function innerTest({ cid, boot }: InnerOptions): string {
  return `
import { lab, test } from "belljar";

test("a machine is driven over vsock alone", { timeout: "10m" }, async (t) => {
  const vm = await lab.vm("inner", "tiny", { memory: "128M" }).boot(${boot});
  t.log("transport", vm.info.transport, "CID", vm.info.cid, "because", vm.info.transportWhy);
  t.assertEquals(vm.info.transport, "vsock");
  t.assert(${cid === undefined ? "vm.info.cid! > 2" : `vm.info.cid === ${cid}`});
  const before = await vm.counters();

  const result = await vm.run("cat", { args: ["/proc/self/status"] });
  result.assertOk();
  t.assertStringIncludes(result.stdout, "Name:\\tcat");

  const bytes = new Uint8Array(3_000_000).map((_, i) => (i * 7919) >> 3);
  await vm.writeFile("/tmp/inner-bytes", bytes);
  t.assertEquals(await vm.readFile("/tmp/inner-bytes"), bytes);
  await vm.remove("/tmp/inner-bytes");

  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => vm.run("echo", { args: [String(i)] })),
  );
  t.assertEquals(answers.map(({ stdout }) => stdout), answers.map((_, i) => i + "\\n"));

  const worker = await vm.spawnWorker();
  t.assertEquals((await worker.run("true")).exitCode, 0);
  await worker.close();

  const after = await vm.counters();
  t.log("control port:", before.controlOps, "requests before,", after.controlOps, "after",
    after.requests - before.requests, "operations");
  t.assertEquals(after.controlOps, before.controlOps);
  t.assert(after.requests - before.requests > 25);
  if (${cid !== undefined}) t.assertEquals(after.controlOps, 0);
});
`;
}
