import { assert, assertEquals, assertMatch } from "@std/assert";
import { cstr, type Vm } from "../../src/lab/mod.ts";
import { linkOf } from "../../src/lab/_link.ts";
import { LocalVmm, type Machine } from "../../src/vmm/mod.ts";
import { agentBinary, resolveImage } from "../../src/image/mod.ts";
import { cacheDir, currentRun, openRun } from "../../src/host/mod.ts";
import { makeTempDir } from "../host/_temp.ts";
import { labTest, sharedMachine } from "./_lab.ts";

// Scenario 34 over the serial port and over the unix socket of the local machine; over vsock: tests/vsock.

const O_RDWR = 2;
const NOBODY = 65534;
const { test } = sharedMachine("guarded");

/** Folder of the run that this process' machines belong to. */
async function runDir(): Promise<string> {
  return (await currentRun()).dir;
}

/** Paths of the agent's port in the guest. */
async function portsOf(vm: Vm): Promise<string[]> {
  return (await vm.glob("/dev/vport*p*")).map(String);
}

test("34: a user of the guest gets nothing of the agent's port, its process and its secret", async (vm) => {
  const ports = await portsOf(vm);
  assert(ports.length > 0);
  const agent = linkOf(vm).client("test").agent.pid;
  const before = await vm.counters();
  const user = await vm.spawnWorker({ uid: 1000, gid: 1000, groups: [] });
  const name = async (call: Promise<{ ret: bigint; errnoName: string }>) => {
    const { ret, errnoName } = await call;
    return ret >= 0n ? "success" : errnoName;
  };
  const opens = (path: string) => name(user.syscall("open", cstr(path), O_RDWR, 0));
  const reads = (path: string) => name(user.syscall("open", cstr(path), 0, 0));
  for (const port of ports) {
    // What root sees: the port is there, and has its one user already.
    assertEquals(await name(vm.syscall("open", cstr(port), O_RDWR, 0)), "EBUSY");
    assertEquals(await opens(port), "EACCES");
  }
  for (const pid of [1, agent]) {
    for (const file of ["mem", "environ", "fd/0", "maps"]) {
      assertEquals(await reads(`/proc/${pid}/${file}`), "EACCES", `/proc/${pid}/${file}`);
    }
    assertEquals(await name(user.syscall("kill", pid, 0)), "EPERM");
    const PTRACE_ATTACH = 16;
    assertEquals(await name(user.syscall("ptrace", PTRACE_ATTACH, pid, 0, 0)), "EPERM");
    const PIDFD_GETFD = 438;
    const pidfd = await user.syscall("pidfd_open", pid, 0);
    if (pidfd.ret >= 0n) {
      assertEquals(await name(user.syscall(PIDFD_GETFD, pidfd.ret, 0, 0)), "EPERM");
    }
  }
  assert(["ENOENT", "EACCES"].includes(await reads("/etc/belljar/secret")));
  assertEquals(await vm.exists("/etc/belljar/secret"), false);
  for (const path of await vm.glob("/sys/firmware/qemu_fw_cfg/by_name/opt/*/secret/raw")) {
    assertEquals(await reads(String(path)), "EACCES");
  }
  // Kernel messages and the consoles tell root's affairs.
  assertEquals(await opens("/dev/ttyS0"), "EACCES");
  await user.close();
  const after = await vm.counters();
  assertEquals(after.zombies, before.zombies);
  assertEquals((await vm.run("echo undisturbed")).stdout, "undisturbed\n");
});

test(
  "34: another user of the host gets nothing of a machine's sockets and files",
  async (vm, { t }) => {
    await hostUserSeesNothing(t, { dir: await runDir(), pid: vm.info.pid });
    assertEquals((await vm.run("echo undisturbed")).stdout, "undisturbed\n");
  },
);

labTest("34: another user of the host gets nothing of a local machine", async ({ t }) => {
  await using temp = await makeTempDir();
  await using run = await openRun({ root: temp.path, agentBinary: () => agentBinary() });
  const image = await resolveImage("tiny");
  const vmm = new LocalVmm({ run: () => Promise.resolve(run) });
  await using machine: Machine = await vmm.launch({
    name: "local",
    image,
    memoryBytes: 0,
    cpus: 1,
  });
  await hostUserSeesNothing(t, { dir: run.dir, pid: machine.info.pid });
  await machine.client!.request("ping", {});
});

/** Whether this process may become another user, and has what that user's program needs. */
async function canBecomeNobody(): Promise<boolean> {
  if (Deno.uid() !== 0) return false;
  return await new Deno.Command("perl", { args: ["-MSocket", "-e", "1"], stderr: "null" }).output()
    .then(({ success }) => success, () => false);
}

/** As another user: tries to list, read, connect, signal; prints one word for each. */
const PERL = `
use Socket;
my ($dir, $pid, $socket) = @ARGV;
sub told { print "$_[0] ", ($_[1] ? "success" : $!{EACCES} ? "EACCES" : $!{EPERM} ? "EPERM" : "$!"), "\\n" }
use Errno;
told("list", opendir(my $d, $dir));
for my $name ("c", "q", "t", "secret", "m1/c", "m1/secret") {
  told("read", open(my $f, "<", "$dir/$name"));
  socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
  told("connect", connect($s, sockaddr_un("$dir/$name")));
}
told("kill", kill(0, $pid));
for my $name ("environ", "mem", "fd") {
  told("proc", $name eq "fd" ? opendir(my $p, "/proc/$pid/fd") : open(my $f, "<", "/proc/$pid/$name"));
}
socket(my $s, AF_UNIX, SOCK_STREAM, 0);
told("open-socket", connect($s, sockaddr_un($socket)));
`;

async function hostUserSeesNothing(
  t: Deno.TestContext,
  { dir, pid }: { dir: string; pid: number },
): Promise<void> {
  const mode = (await Deno.stat(dir)).mode! & 0o777;
  assertEquals(mode, 0o700);
  const commandLine = await Deno.readTextFile(`/proc/${pid}/cmdline`);
  assert(!/[0-9a-f]{64}/.test(commandLine), "something like a secret is among the arguments");
  await t.step({
    name: "tried as another user",
    ignore: !await canBecomeNobody(),
    async fn() {
      // Where everybody may connect the same program does.
      await using open = await makeTempDir();
      await Deno.chmod(open.path, 0o755);
      const path = `${open.path}/s`;
      using listener = Deno.listen({ transport: "unix", path });
      await Deno.chmod(path, 0o777);
      const accepted = listener.accept();
      const { stdout, stderr } = await new Deno.Command("perl", {
        args: ["-e", PERL, dir, String(pid), path],
        uid: NOBODY,
        gid: NOBODY,
        cwd: "/",
      }).output();
      (await accepted).close();
      const lines = new TextDecoder().decode(stdout).trim().split("\n");
      assertEquals(new TextDecoder().decode(stderr), "");
      assertEquals(lines.pop(), "open-socket success");
      assert(lines.length > 10);
      for (const line of lines) assertMatch(line, /^\S+ (EACCES|EPERM)$/);
    },
  });
}

labTest("34: what a template or a saved state holds is for its owner alone", async ({ t }) => {
  const cache = await cacheDir();
  for (const folder of ["templates", "snapshots"]) {
    await t.step(folder, async () => {
      const info = await Deno.stat(`${cache}/${folder}`).catch(() => undefined); // none yet
      if (info) assertEquals(info.mode! & 0o077, 0);
    });
  }
});
