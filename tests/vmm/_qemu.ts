import { QmpClient } from "../../src/vmm/mod.ts";
import { makeTempDir } from "../host/_temp.ts";

/** A QEMU without any machine: its monitor is the real one, and it starts in milliseconds. */
export async function startMonitor(): Promise<
  AsyncDisposable & { qmp: QmpClient; dir: string; kill: () => void }
> {
  const dir = await makeTempDir();
  const path = `${dir.path}/q`;
  const listener = Deno.listen({ transport: "unix", path });
  const child = new Deno.Command("qemu-system-x86_64", {
    args: [
      ..."-machine none -nodefaults -display none -mon chardev=q,mode=control".split(" "),
      ...["-chardev", `socket,id=q,path=${path},server=off`],
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const conn = await listener.accept();
  listener.close();
  const qmp = new QmpClient(conn);
  let ended = false;
  const status = child.status.then(() => ended = true);
  const kill = () => {
    if (!ended) child.kill("SIGKILL");
  };
  return {
    qmp,
    dir: dir.path,
    kill,
    async [Symbol.asyncDispose]() {
      kill();
      await status;
      qmp.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}
