import { BelljarError } from "../errors.ts";
import { cacheDir, freeSpace, hostLimits, runRoot } from "../host/mod.ts";
import { agentBinary, listImages } from "../image/mod.ts";
import { lab } from "../lab/mod.ts";
import { runScope, Scope, timeScale } from "../scope/mod.ts";
import { findQemu, QemuVmm } from "../vmm/mod.ts";
import { VERSION } from "../wire/mod.ts";
import { showBytes } from "./_format.ts";

/** Something that `belljar doctor` found out. */
export interface Fact {
  /** What it is about: `"qemu"`, `"accelerator"`, … */
  name: string;
  /** Whether it is as it should be, slower or narrower than it could be, or keeps tests from running. */
  status: "ok" | "note" | "problem";
  /** What was found, and how. */
  text: string;
  /** What can be done about it. */
  fix?: string;
  /** The same for programs. */
  facts?: Record<string, string | number | boolean | undefined>;
}

/** Options for {@linkcode findFacts}. */
export interface FindFactsOptions {
  /** Find out again what earlier runs found out about the accelerator. */
  probe?: boolean;
}

/** Finds out what this host can do for machines. */
export async function findFacts(options: FindFactsOptions = {}): Promise<Fact[]> {
  const facts: Fact[] = [versions(), await host(), await folders()];
  const qemu = await qemuFact();
  const agent = await agentFact();
  facts.push(qemu, agent, ...await cached());
  if (qemu.status !== "problem" && agent.status !== "problem") {
    facts.push(await accelerator(options));
  }
  facts.push(await transport());
  return facts;
}

function versions(): Fact {
  const { deno, v8 } = Deno.version;
  const how = Deno.build.standalone ? "compiled program" : "from source";
  return {
    name: "belljar",
    status: "ok",
    text: `${VERSION}, ${how}, Deno ${deno}`,
    facts: { version: VERSION, deno, v8, standalone: Deno.build.standalone },
  };
}

async function host(): Promise<Fact> {
  const { memoryBytes, memoryAvailableBytes, memoryFrom, cores } = await hostLimits();
  const from = memoryFrom === "machine" ? "" : `, limited by ${memoryFrom}`;
  const text = `Linux ${Deno.osRelease()} on ${Deno.build.arch}, ${cores} cores, ${
    showBytes(memoryBytes)
  } of memory (${showBytes(memoryAvailableBytes)} free)${from}`;
  const facts = {
    kernel: Deno.osRelease(),
    arch: Deno.build.arch,
    cores,
    memoryBytes,
    memoryAvailableBytes,
    memoryFrom,
  };
  return { name: "host", status: "ok", text, facts };
}

async function folders(): Promise<Fact> {
  try {
    const [cache, runs] = [await cacheDir(), await runRoot()];
    const { freeBytes } = await freeSpace(cache);
    const text = `cache ${cache} (${showBytes(freeBytes)} free), runs ${runs}`;
    const facts = { cache, runs, freeBytes };
    if (freeBytes >= 2 ** 30) return { name: "folders", status: "ok", text, facts };
    return {
      name: "folders",
      status: "note",
      text,
      fix: "free some space, or set BELLJAR_CACHE_DIR to another disk",
      facts,
    };
  } catch (error) {
    return problem(
      "folders",
      error,
      "set BELLJAR_CACHE_DIR and XDG_RUNTIME_DIR to folders of your own",
    );
  }
}

async function qemuFact(): Promise<Fact> {
  try {
    const { path, version } = await findQemu();
    return { name: "qemu", status: "ok", text: `${version} at ${path}`, facts: { path, version } };
  } catch (error) {
    return problem("qemu", error, "install qemu-system-x86, or set BELLJAR_QEMU to a QEMU");
  }
}

async function agentFact(): Promise<Fact> {
  try {
    const path = await agentBinary();
    return { name: "agent", status: "ok", text: path, facts: { path } };
  } catch (error) {
    return problem(
      "agent",
      error,
      "install a C compiler with a static libc (musl-tools), or use a compiled belljar",
    );
  }
}

async function cached(): Promise<Fact[]> {
  const images = await listImages().catch(() => []); // the folders' own problem is told above
  const image: Fact = images.length > 0
    ? {
      name: "images",
      status: "ok",
      text: byName(images),
      facts: { count: images.length },
    }
    : {
      name: "images",
      status: "note",
      text: "none is built yet: the first machine builds its own",
      fix: "belljar image build tiny",
      facts: { count: 0 },
    };
  const count = await templates();
  const text = count === 0
    ? "none: the first machine of its kind boots, later ones are clones"
    : `${count} saved: machines of these kinds start as clones`;
  return [image, { name: "templates", status: "ok", text, facts: { count } }];
}

/** Each name once, the name that was used last first: `tiny (3 builds, 173 MiB, kernel 6.1.0)`. */
function byName(images: Awaited<ReturnType<typeof listImages>>): string {
  const groups = Map.groupBy(images, ({ name }) => name);
  return [...groups].map(([name, all]) => {
    const size = showBytes(all.reduce((sum, { bytes }) => sum + bytes, 0));
    const kernel = all.find(({ kernelRelease }) => kernelRelease)?.kernelRelease;
    const parts = [all.length > 1 && `${all.length} builds`, size, kernel && `kernel ${kernel}`];
    return `${name} (${parts.filter(Boolean).join(", ")})`;
  }).join(", ");
}

async function templates(): Promise<number> {
  try {
    let count = 0;
    for await (const { isDirectory, name } of Deno.readDir(`${await cacheDir()}/templates`)) {
      if (isDirectory && !name.startsWith(".")) count++;
    }
    return count;
  } catch {
    return 0; // there is no such folder before the first machine
  }
}

/** Only a machine that has reached its agent shows that KVM runs kernels: one is started where that is not known yet. */
async function accelerator({ probe }: FindFactsOptions): Promise<Fact> {
  try {
    const vmm = new QemuVmm();
    let decision = await vmm.accelerator({ fresh: probe });
    if (!decision.proven) {
      await using scope = new Scope("doctor", { kind: "file", parent: runScope() });
      await scope.run(() => lab.vm("doctor", "tiny").boot({ cold: true }));
      decision = await new QemuVmm().accelerator();
    }
    const { accel } = decision;
    const isOpened = accel === "tcg" && !/no \/dev\/kvm|cannot be opened|^KVM/.test(decision.why);
    const why = isOpened ? `KVM opens, but runs no kernel: ${decision.why}` : decision.why;
    const factor = timeScale();
    const facts = { accel, why, factor };
    if (accel === "kvm") return { name: "accelerator", status: "ok", text: `KVM: ${why}`, facts };
    const fix = /no \/dev\/kvm/.test(why)
      ? "on a cloud runner choose a machine with nested virtualisation; tests pass without, slower"
      : /cannot be opened/.test(why)
      ? "add yourself to the group kvm: sudo usermod -aG kvm $USER, then log in again"
      : "use a host whose KVM runs kernels (bare metal, or nested virtualisation that works); tests pass without, slower";
    return {
      name: "accelerator",
      status: "note",
      text: `TCG, limits are stretched ${factor} times: ${why}`,
      fix,
      facts,
    };
  } catch (error) {
    return problem("accelerator", error, "run `belljar exec tiny -- true` to see more");
  }
}

async function transport(): Promise<Fact> {
  const device = "/dev/vhost-vsock";
  try {
    (await Deno.open(device, { read: true, write: true })).close();
    return {
      name: "transport",
      status: "ok",
      text: `vsock: ${device} can be opened`,
      facts: { transport: "vsock" },
    };
  } catch (error) {
    const isMissing = error instanceof Deno.errors.NotFound;
    return {
      name: "transport",
      status: "note",
      text: `serial: ${isMissing ? `there is no ${device}` : `${device} cannot be opened`}`,
      fix: isMissing
        ? "sudo modprobe vhost_vsock; tests pass without"
        : `give yourself access to ${device} (group kvm); tests pass without`,
      facts: { transport: "serial" },
    };
  }
}

function problem(name: string, error: unknown, fix: string): Fact {
  const isOurs = error instanceof BelljarError;
  const text = isOurs
    ? error.message
    : error instanceof Error
    ? `${error.name}: ${error.message}`
    : String(error);
  return { name, status: "problem", text, fix };
}
