/** Serial number that the disk with an image's root file system has: its id among the disks. */
export const ROOT_SERIAL = "root";

/** Folder of the initramfs from which files are copied to the root file system. */
export const FILES_FOLDER = "belljar-files";

/** Where the secret is found if it comes by the firmware's configuration. */
const FIRMWARE_SECRET = "opt/org.belljar/secret";

/** Name of the agent's virtio-serial port. */
const CONTROL_PORT = "org.belljar.control";

/** Applets of busybox that the script uses. */
export const ROOT_INIT_APPLETS: readonly string[] =
  "cat chmod chroot cp find insmod ln mkdir mount rm sh sleep switch_root umount uname".split(" ");

/**
 * Process 1 of the initramfs that brings up a root file system which knows nothing of belljar: it
 * loads the drivers, mounts the disk, adds files and agent, and hands over to the system's init.
 */
export function rootInitScript(init: "agent" | "systemd", start: "booted" | "early"): string {
  return SCRIPT + (init === "agent" ? START_AGENT : startSystemd(start));
}

const SCRIPT = `#!/bin/sh
export PATH=/bin

# The kernel panics when process 1 ends, which the harness sees.
fail() {
	echo "belljar: $*"
	exit 1
}

mount -t devtmpfs dev /dev || fail "cannot mount /dev"
mount -t proc proc /proc || fail "cannot mount /proc"
mount -t sysfs sys /sys || fail "cannot mount /sys"

while read -r module; do
	insmod "$module" || echo "belljar: cannot load $module"
done </etc/belljar/modules

# Prints what a command finds, waiting for devices that are still being probed.
wait_for() {
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ "$tries" -le 200 ] || return 1
		sleep 0.05
	done
}

find_root() {
	for disk in /sys/block/*; do
		[ "$(cat "$disk/serial" 2>/dev/null)" = "${ROOT_SERIAL}" ] || continue
		echo "/dev/\${disk##*/}"
		return 0
	done
	return 1
}

find_port() {
	for name in /sys/class/virtio-ports/*/name; do
		[ "$(cat "$name" 2>/dev/null)" = "${CONTROL_PORT}" ] || continue
		port="\${name%/name}"
		echo "/dev/\${port##*/}"
		return 0
	done
	return 1
}

root="$(wait_for find_root)" || fail "no disk has the serial number ${ROOT_SERIAL}"
mount -t ext4 "$root" /newroot || fail "cannot mount the root file system on $root"

mkdir -p /newroot/dev /newroot/proc /newroot/sys /newroot/run
mount -t tmpfs -o mode=0755,nosuid,nodev run /newroot/run || fail "cannot mount /run"
mkdir -m 0700 /newroot/run/belljar
cp /bin/busybox /newroot/run/belljar/busybox

release="$(uname -r)"
if [ -d "/lib/modules/$release" ] && [ ! -d "/newroot/lib/modules/$release" ]; then
	mkdir -p "/newroot/lib/modules/$release"
	mount -t tmpfs -o mode=0755 modules "/newroot/lib/modules/$release"
	cp -r "/lib/modules/$release/." "/newroot/lib/modules/$release/"
fi

# Copies the secret, which came with the initramfs or by the firmware's configuration.
copy_secret() {
	for secret in /etc/belljar/secret /sys/firmware/qemu_fw_cfg/by_name/${FIRMWARE_SECRET}/raw; do
		[ -e "$secret" ] || continue
		cat "$secret" >"$1" && chmod 0400 "$1" && return 0
	done
	echo "belljar: there is no secret"
}

# From inside the new root, so that its links lead where they would.
if [ -d "/${FILES_FOLDER}" ]; then
	mkdir /newroot/run/belljar/files
	cp -a "/${FILES_FOLDER}/." /newroot/run/belljar/files/
	chroot /newroot /run/belljar/busybox sh -c '
		cd /run/belljar/files || exit 1
		bb=/run/belljar/busybox
		$bb find . ! -type d | while IFS= read -r file; do
			$bb mkdir -p "/\${file%/*}"
			$bb rm -rf "/$file"
			$bb cp -a "$file" "/$file" || echo "belljar: cannot add $file"
		done
		$bb rm -rf /run/belljar/files
	'
fi
`;

const HAND_OVER = `
rm -f /newroot/run/belljar/busybox
umount /proc /sys
mount --move /dev /newroot/dev
`;

const START_AGENT = `
mkdir -p /newroot/etc/belljar
chmod 0700 /newroot/etc/belljar
copy_secret /newroot/etc/belljar/secret
: >/newroot/etc/belljar/modules
cp /agent /newroot/init || fail "cannot write to the root file system"
${HAND_OVER}
exec switch_root /newroot /init
`;

/** What the agent's service waits for, and what starts it. */
const START = {
  early: {
    after: "local-fs.target systemd-tmpfiles-setup.service",
    wantedBy: "sysinit.target",
    type: "simple",
  },
  // idle: behind what is still to be started without being ordered.
  booted: {
    after: "graphical.target multi-user.target",
    wantedBy: "multi-user.target",
    type: "idle",
  },
};

function startSystemd(start: "booted" | "early"): string {
  const { after, wantedBy, type } = START[start];
  return `
cp /agent /newroot/run/belljar/agent
copy_secret /newroot/run/belljar/secret
listen=
for word in $(cat /proc/cmdline); do
	case "$word" in
	belljar.vsock=*) listen="--listen vsock:\${word#*=}" ;;
	esac
done
port="$(wait_for find_port)" || echo "belljar: there is no port ${CONTROL_PORT}"
units=/newroot/run/systemd/system
mkdir -p "$units/${wantedBy}.wants"
# Without default dependencies: the target would otherwise wait for what waits for it.
cat >"$units/belljar-agent.service" <<UNIT
[Unit]
Description=belljar agent
DefaultDependencies=no
After=${after}
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=${type}
ExecStart=/run/belljar/agent agent --control $port --secret-file /run/belljar/secret $listen
Restart=on-failure
OOMScoreAdjust=-999
Delegate=yes
KillMode=process
TasksMax=infinity
UNIT
ln -s ../belljar-agent.service "$units/${wantedBy}.wants/belljar-agent.service"
${HAND_OVER}
exec switch_root /newroot /sbin/init
`;
}
