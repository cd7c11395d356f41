/**
 * Writes the tables of system calls and ioctls in `src/lab/_sys_tables.ts` from the kernel's own headers, as Debian's
 * linux-libc-dev installs them: `asm/unistd_64.h` for x86_64, `asm-generic/unistd.h` for aarch64 (with the switches that
 * arch/arm64/include/uapi/asm/unistd.h sets), and the headers named in `IOCTL_HEADERS` for both.
 *
 * Run with `deno run -A scripts/generate_sys.ts`, or with `--check` to compare the file with the headers of this machine.
 *
 * @module
 */

const OUTPUT = new URL("../src/lab/_sys_tables.ts", import.meta.url);

/** What arm64 asks of asm-generic/unistd.h. */
const ARM64 = [
  "__BITS_PER_LONG=64",
  "__ARCH_WANT_RENAMEAT",
  "__ARCH_WANT_NEW_STAT",
  "__ARCH_WANT_SET_GET_RLIMIT",
  "__ARCH_WANT_SYS_CLONE3",
  "__ARCH_WANT_MEMFD_SECRET",
];

const IOCTL_HEADERS = [
  "asm-generic/ioctls.h",
  "linux/sockios.h",
  "linux/fs.h",
  "linux/loop.h",
  "linux/if_tun.h",
  "linux/random.h",
  "linux/vm_sockets.h",
];

/** Names of ioctls in those headers; their other macros are flags and sizes. */
const IOCTL_NAME =
  /^(?:T(?:C|IO)[A-Z0-9_]+|FIO[A-Z0-9_]+|SIOC[A-Z0-9_]+|BLK[A-Z0-9]+|FI[A-Z]{3,}|FS_IOC_[A-Z0-9_]+|LOOP_[A-Z0-9_]+|TUN[A-Z]+|RND[A-Z]+|IOCTL_VM_SOCKETS_[A-Z_]+)$/;
const NOT_IOCTL =
  /^(?:TIOCPKT_|TIOCSER_TEMT|LOOP_(?:CONFIGURE|SET_STATUS)_[A-Z]+_FLAGS|LOOP_CTL_MAJOR)|SIOC[DP]\w*(?:PRIVATE_MAX)/;

async function cc(args: string[], input: string): Promise<string> {
  const child = new Deno.Command("cc", {
    args: [...args, "-x", "c", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  if (!success) throw new Error(`cc ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** Macros of a header with their bodies. */
async function macros(header: string, defines: string[] = []): Promise<Map<string, string>> {
  const text = await cc(["-E", "-dM", ...defines.map((d) => `-D${d}`)], `#include <${header}>\n`);
  return new Map(
    [...text.matchAll(/^#define (\w+) (.+)$/gm)].map(([, name, body]) => [name!, body!.trim()]),
  );
}

/** Numbers of system calls: macros may name each other. */
function callNumbers(all: Map<string, string>): [string, number][] {
  const value = (body: string | undefined): number | undefined => {
    if (body === undefined) return undefined;
    if (/^\d+$/.test(body)) return Number(body);
    const sum = /^\((\w+)\s*\+\s*(\d+)\)$/.exec(body);
    if (sum) {
      const base = value(sum[1]);
      return base === undefined ? undefined : base + Number(sum[2]);
    }
    return /^\w+$/.test(body) ? value(all.get(body)) : undefined;
  };
  const numbers: [string, number][] = [];
  for (const [name, body] of all) {
    const match = /^__NR_(\w+)$/.exec(name);
    if (!match || /^(?:syscalls|arch_specific_syscall)$/.test(match[1]!)) continue;
    const number = value(body);
    if (number === undefined) throw new Error(`${name} is ${body}, which has no number`);
    numbers.push([match[1]!, number]);
  }
  return numbers.sort((a, b) => a[1] - b[1]);
}

async function ioctlNumbers(): Promise<[string, number][]> {
  const names = new Set<string>();
  for (const header of IOCTL_HEADERS) {
    for (const [name, body] of await macros(header)) {
      if (IOCTL_NAME.test(name) && !NOT_IOCTL.test(name) && body !== "") names.add(name);
    }
  }
  const file = await Deno.makeTempFile();
  const includes = [
    "stdio.h",
    "sys/socket.h",
    "linux/if.h",
    "linux/termios.h",
    "linux/serial.h",
    "linux/fiemap.h",
    "linux/blktrace_api.h",
    ...IOCTL_HEADERS,
  ];
  const program = [
    ...includes.map((header) => `#include <${header}>`),
    "int main(void) {",
    ...[...names].map((name) => `printf("%s %lu\\n", "${name}", (unsigned long)(${name}));`),
    "return 0; }",
  ];
  try {
    await cc(["-w", "-o", file], program.join("\n"));
    const { stdout } = await new Deno.Command(file).output();
    return new TextDecoder().decode(stdout).trim().split("\n")
      .map((line) => line.split(" "))
      .map(([name, number]): [string, number] => [name!, Number(number) >>> 0])
      .sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
  } finally {
    await Deno.remove(file);
  }
}

function table(name: string, doc: string, rows: [string, number][], hex = false): string {
  const shown = (n: number) => hex ? `0x${n.toString(16)}` : String(n);
  return [
    `/** ${doc} */`,
    `export const ${name} = {`,
    ...rows.map(([key, number]) => `  ${key}: ${shown(number)},`),
    "} as const;",
  ].join("\n");
}

type Rows = [string, number][];

async function readHeaders(): Promise<{ x86: Rows; arm: Rows; ioctls: Rows }> {
  return {
    x86: callNumbers(await macros("asm/unistd_64.h")),
    arm: callNumbers(await macros("asm-generic/unistd.h", ARM64)),
    ioctls: await ioctlNumbers(),
  };
}

function render({ x86, arm, ioctls }: { x86: Rows; arm: Rows; ioctls: Rows }): string {
  return [
    "// Written by scripts/generate_sys.ts from the headers of linux-libc-dev; change that, not this.\n",
    table("X86_64_CALLS", "System calls of x86_64, from asm/unistd_64.h.", x86),
    "",
    table("AARCH64_CALLS", "System calls of aarch64, from asm-generic/unistd.h.", arm),
    "",
    table(
      "IOCTLS",
      `Ioctls of x86_64 and aarch64, from ${IOCTL_HEADERS.join(", ")}.`,
      ioctls,
      true,
    ),
    "",
  ].join("\n");
}

/** Headers of another kernel know other names; a number that differs is an error of this script. */
async function compare(rows: { x86: Rows; arm: Rows; ioctls: Rows }): Promise<void> {
  const present = await import(OUTPUT.href);
  const pairs = [
    [rows.x86, present.X86_64_CALLS],
    [rows.arm, present.AARCH64_CALLS],
    [rows.ioctls, present.IOCTLS],
  ] as [Rows, Record<string, number>][];
  for (const [found, known] of pairs) {
    const common = found.filter(([name]) => Object.hasOwn(known, name));
    if (common.length < found.length / 2) throw new Error(`${OUTPUT.pathname} lacks most names`);
    for (const [name, number] of common) {
      if (known[name] === number) continue;
      throw new Error(
        `${name} is ${number} in the headers and ${known[name]} in ${OUTPUT.pathname}`,
      );
    }
  }
}

if (import.meta.main) {
  const rows = await readHeaders();
  if (Deno.args.includes("--check")) await compare(rows);
  else await Deno.writeTextFile(OUTPUT, render(rows));
}
