/** An ssh server in a guest, reached over QEMU's user network. */
import { type Bench, freshDir, output } from "./bench.ts";
import type { Program } from "./packages.ts";
import { install, type PeerGuest } from "./peer_guest.ts";

/** Programs of both ends. */
export interface SshPrograms {
  /** dropbear. */
  server: Program;
  /** OpenSSH's. */
  client: Program;
  keygen: Program;
}

/** Runs commands in a guest by ssh: over a connection that is kept, or over one of its own. */
export class Ssh {
  readonly #bench: Bench;
  readonly #client: Program;
  readonly #options: string[];
  readonly #socket: string;
  readonly #master: AsyncDisposable;

  private constructor(
    bench: Bench,
    parts: { client: Program; options: string[]; socket: string; master: AsyncDisposable },
  ) {
    this.#bench = bench;
    this.#client = parts.client;
    this.#options = parts.options;
    this.#socket = parts.socket;
    this.#master = parts.master;
  }

  /** Plugs a network card into the guest, starts the server there, and connects once. */
  static async start(
    bench: Bench,
    { vm, qmp }: PeerGuest,
    { server, client, keygen }: SshPrograms,
  ): Promise<Ssh> {
    const dir = await freshDir(bench);
    await output(bench, keygen.path, {
      args: ["-q", "-t", "ed25519", "-N", "", "-f", `${dir}/key`],
      env: keygen.env,
    });
    await qmp.execute("netdev_add", {
      type: "user",
      id: "ssh",
      restrict: true,
      hostfwd: [{ str: "tcp:127.0.0.1:0-:22" }],
    });
    await qmp.execute("device_add", {
      driver: "virtio-net-pci",
      id: "sshnic",
      bus: "rp0",
      netdev: "ssh",
      romfile: "",
    });
    const usernet = await qmp.execute<string>("human-monitor-command", {
      "command-line": "info usernet",
    });
    const port = /127\.0\.0\.1\s+(\d+)\s+\S+\s+22\s/.exec(usernet)?.[1];
    if (!port) throw new Error(`QEMU forwards no port to the guest: ${usernet}`);
    await install(vm, server, "/usr/sbin/dropbear");
    await vm.mkdir("/root/.ssh", { recursive: true });
    await vm.writeFile("/root/.ssh/authorized_keys", await Deno.readFile(`${dir}/key.pub`), {
      mode: 0o600,
    });
    const setUp = await vm.run(
      "chmod 700 /root /root/.ssh; mkdir -p /etc/dropbear /dev/pts; modprobe virtio_net; " +
        "until ip link set eth0 up; do sleep 0.1; done && ip addr add 10.0.2.15/24 dev eth0",
      { timeout: "60s" },
    );
    setUp.assertOk();
    const daemon = await vm.runAsync("exec /usr/sbin/dropbear -F -E -R -s -p 22");
    await daemon.stderr.expect("Not backgrounding", "60s");
    const socket = `${dir}/s`;
    const options = [
      ...["-F", "/dev/null", "-i", `${dir}/key`, "-p", port],
      ...[
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "BatchMode=yes",
        "IdentitiesOnly=yes",
      ].flatMap((option) => ["-o", option]),
    ];
    const guest = "root@127.0.0.1";
    const master = await bench.run.spawnGuarded(client.path, {
      args: [...options, "-M", "-N", "-S", socket, "-o", "ControlPersist=no", guest],
      env: client.env,
      stdout: "null",
      stderr: "inherit",
    });
    const self = new Ssh(bench, { client, options, socket, master });
    try {
      await self.fresh(); // the guest makes its key now
      await Promise.race([
        self.#untilConnected(),
        master.status.then(({ code }) => Promise.reject(new Error(`ssh ended with ${code}`))),
      ]);
      await self.kept();
    } catch (error) {
      await self.close();
      throw error;
    }
    return self;
  }

  /** Runs `true` over the connection that is kept. */
  async kept(): Promise<void> {
    await this.#true(["-S", this.#socket, "-o", "ControlMaster=no"]);
  }

  /** Runs `true` over a connection of its own. */
  async fresh(): Promise<void> {
    await this.#true(["-o", "ControlPath=none"]);
  }

  async close(): Promise<void> {
    await this.#master[Symbol.asyncDispose]();
  }

  /** As a harness would start it: the guard would add its own to the time. */
  async #true(how: string[]): Promise<void> {
    const { success, stderr } = await new Deno.Command(this.#client.path, {
      args: [...how, ...this.#options, "root@127.0.0.1", "true"],
      env: this.#client.env,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) throw new Error(`ssh: ${new TextDecoder().decode(stderr)}`);
  }

  /** The socket appears when its connection stands; nobody tells. */
  async #untilConnected(): Promise<void> {
    const giveUpAt = performance.now() + 60_000;
    while (!await Deno.lstat(this.#socket).then(() => true, () => false)) {
      if (performance.now() > giveUpAt) throw new Error("ssh does not connect");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
