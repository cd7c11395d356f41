/** qemu-guest-agent in a guest: commands by `guest-exec`, their ends by `guest-exec-status`. */
import { deadline } from "@std/async";
import { writeAll } from "../../src/wire/mod.ts";
import { type Bench, freshDir } from "./bench.ts";
import type { Program } from "./packages.ts";
import { install, type PeerGuest } from "./peer_guest.ts";

/** Longer than any command here takes. */
const LIMIT_MS = 20_000;
const PORT = "org.qemu.guest_agent.0";

/** A conversation with qemu-guest-agent. */
export class GuestExec {
  readonly #conn: Deno.Conn;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #rest = "";
  /** Questions that were asked: one for the command, and one each time for its end. */
  asked = 0;

  private constructor(conn: Deno.Conn) {
    this.#conn = conn;
    this.#lines = conn.readable.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Plugs a port of its own into the guest and starts the program there. */
  static async start(bench: Bench, { vm, qmp }: PeerGuest, program: Program): Promise<GuestExec> {
    const path = `${await freshDir(bench)}/g`;
    using listener = Deno.listen({ transport: "unix", path });
    await qmp.execute("chardev-add", {
      id: "qga",
      backend: {
        type: "socket",
        data: { addr: { type: "unix", data: { path } }, server: false },
      },
    });
    const self = new GuestExec(await listener.accept());
    await qmp.execute("device_add", {
      driver: "virtserialport",
      id: "qga0",
      bus: "serial0.0",
      chardev: "qga",
      name: PORT,
    });
    await install(vm, program, "/usr/sbin/qemu-ga");
    const found = await vm.run(
      `until grep -lx ${PORT} /sys/class/virtio-ports/*/name; do sleep 0.1; done`,
      { timeout: "60s" },
    );
    const device = `/dev/${found.assertOk().stdout.split("/").at(-2)}`;
    await vm.background(`exec /usr/sbin/qemu-ga -m virtio-serial -p ${device} -t /run`);
    const id = crypto.getRandomValues(new Uint16Array(1))[0]!;
    const answer = await self.#ask("guest-sync", { id });
    if (answer !== id) throw new Error(`qemu-guest-agent answered ${answer} to guest-sync ${id}`);
    return self;
  }

  /** Runs a command to its end, which is asked for again after `pauseMs` until it has come. */
  async run(path: string, arg: string[], pauseMs: number): Promise<void> {
    const options = { path, arg, "capture-output": true };
    const { pid } = await this.#ask("guest-exec", options) as { pid: number };
    const giveUpAt = performance.now() + LIMIT_MS;
    for (;;) {
      const status = await this.#ask("guest-exec-status", { pid }) as {
        exited: boolean;
        exitcode?: number;
      };
      if (status.exited && status.exitcode === 0) return;
      if (status.exited) throw new Error(`guest-exec of ${path}: ${JSON.stringify(status)}`);
      if (performance.now() > giveUpAt) {
        throw new Error(`guest-exec of ${path} does not end: ${JSON.stringify(status)}`);
      }
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  close(): void {
    this.#conn.close();
  }

  async #ask(command: string, args: Record<string, unknown>): Promise<unknown> {
    this.asked++;
    const text = `${JSON.stringify({ execute: command, arguments: args })}\n`;
    await writeAll(this.#conn, new TextEncoder().encode(text));
    let end: number;
    while ((end = this.#rest.indexOf("\n")) < 0) {
      const { value, done } = await deadline(this.#lines.read(), LIMIT_MS);
      if (done) throw new Error("qemu-guest-agent ended");
      this.#rest += value;
    }
    const answer = JSON.parse(this.#rest.slice(0, end));
    this.#rest = this.#rest.slice(end + 1);
    if (answer.error) throw new Error(`${command}: ${JSON.stringify(answer.error)}`);
    return answer.return;
  }
}
