import { archivePath, type CpioEntry, type CpioFile } from "./_cpio.ts";

/** Modes of folders that are not 0755. A later archive's entry would reset them to what it says. */
const DIRECTORY_MODES: Record<string, number> = {
  "root": 0o700,
  "tmp": 0o1777,
  "var/tmp": 0o1777,
  "dev/shm": 0o1777,
  "etc/belljar": 0o700,
};

/**
 * Returns the folders that entries lie in, parents first, each once, with the modes that well-known
 * folders have.
 */
export function parentDirectories(paths: Iterable<string>): CpioEntry[] {
  const found = new Set<string>();
  for (const path of paths) {
    const parts = archivePath(path).split("/").slice(0, -1);
    for (let depth = 1; depth <= parts.length; depth++) found.add(parts.slice(0, depth).join("/"));
  }
  // A parent is a prefix of its children, so it sorts before them.
  return [...found].toSorted().map(directory);
}

/** An entry for a folder with the mode that it has by convention. */
export function directory(path: string): CpioEntry {
  return { type: "directory", path, mode: DIRECTORY_MODES[archivePath(path)] ?? 0o755 };
}

/** An entry for a text file. */
export function textFile(path: string, text: string, mode = 0o644): CpioFile {
  return { type: "file", path, content: new TextEncoder().encode(text), mode };
}

/** The folders and small files that a minimal Linux user land expects. */
export function baseEntries(): CpioEntry[] {
  const folders = [
    ..."bin dev dev/pts dev/shm etc etc/belljar etc/udhcpc home lib mnt opt proc root".split(" "),
    ..."run sbin srv sys tmp usr usr/bin usr/lib usr/sbin".split(" "),
    ..."var var/cache var/lib var/log var/spool var/tmp".split(" "),
  ];
  return [
    ...folders.map(directory),
    { type: "directory", path: "home/user", mode: 0o755, uid: 1000, gid: 1000 },
    { type: "symlink", path: "var/run", target: "/run" },
    // The kernel opens the console for process 1 before anything can mount /dev.
    { type: "char", path: "dev/console", major: 5, minor: 1 },
    { type: "char", path: "dev/null", major: 1, minor: 3, mode: 0o666 },
    textFile("etc/passwd", PASSWD),
    textFile("etc/group", GROUP),
    textFile("etc/shells", "/bin/sh\n"),
    textFile("etc/hosts", HOSTS),
    textFile("etc/hostname", "tiny\n"),
    textFile("etc/profile", PROFILE),
    textFile("etc/os-release", OS_RELEASE),
    textFile("etc/udhcpc/default.script", UDHCPC_SCRIPT, 0o755),
    textFile("bin/belljar-barrier", BARRIER_SCRIPT, 0o755),
  ];
}

/** Lets processes of the guest take part in `lab.barrier()`: the harness sees the request and writes the answer. */
const BARRIER_SCRIPT = `#!/bin/sh
# Waits until COUNT have arrived at the barrier NAME, at most TIMEOUT seconds.
if [ $# -lt 2 ]; then
	echo "usage: belljar-barrier NAME COUNT [TIMEOUT]" >&2
	exit 2
fi
folder=/run/belljar/barriers
# Right after a boot the harness has not made it yet.
for _ in 1 2 3 4 5 6 7 8 9 10; do
	[ -d "$folder" ] && break
	sleep 0.5
done
me=$folder/$(cat /proc/sys/kernel/random/uuid)
mkfifo -m 600 "$me.fifo" || exit 2
printf '%s\\n%s\\n%s' "$2" "\${3:-60}" "$1" > "$me.new" && mv "$me.new" "$me.wait" || exit 2
read -r answer < "$me.fifo"
rm -f "$me.fifo" "$me.wait"
exit "\${answer:-2}"
`;

const PASSWD = `root:x:0:0:root:/root:/bin/sh
user:x:1000:1000:user:/home/user:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
`;

const GROUP = `root:x:0:
tty:x:5:
disk:x:6:
user:x:1000:
nogroup:x:65534:
`;

const HOSTS = `127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
`;

const PROFILE = `export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PS1='\\u@\\h:\\w\\$ '
`;

const OS_RELEASE = `ID=belljar-tiny
NAME="belljar tiny"
PRETTY_NAME="belljar tiny"
`;

/** What busybox' DHCP client runs for each event: without a script it changes nothing. */
const UDHCPC_SCRIPT = `#!/bin/sh
case "$1" in
deconfig)
	ip -4 addr flush dev "$interface"
	ip link set "$interface" up
	;;
bound | renew)
	ip -4 addr flush dev "$interface"
	ip addr add "$ip/\${mask:-24}" dev "$interface"
	for gateway in $router; do
		ip route replace default via "$gateway" dev "$interface"
		break
	done
	{
		[ -z "$domain" ] || echo "search $domain"
		for server in $dns; do echo "nameserver $server"; done
	} >/etc/resolv.conf
	;;
esac
`;
