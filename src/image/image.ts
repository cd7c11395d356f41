import type { ImageLayout } from "./_layout.ts";
export type { ImageLayout };
import type { Arch } from "./build_context.ts";

/** What an image is made of. */
export type ImageKind = "initrd" | "rootfs" | "disk";

/** A disk that belongs to an image. Machines never write to it: each gets an overlay of its own. */
export interface ImageDisk {
  /** The file. */
  path: string;
  /** How the disk lies in the file. */
  format: "raw" | "qcow2";
}

/** Something of others' that an image contains, for `belljar licenses`. */
export interface ImagePart {
  /** What it is in the image: `kernel`, `busybox`. */
  name: string;
  /** Package and version, or a path. */
  origin: string;
  /** Where its source can be had, if that is known. */
  source?: string;
}

/** An image that is ready to be started: every file it names exists. */
export interface Image {
  /** Name by which it was asked for. */
  name: string;
  /** What it is made of. */
  kind: ImageKind;
  /** Architecture of its machines. */
  arch: Arch;
  /** Hexadecimal digest of everything that the image is made of. */
  digest: string;
  /** File for QEMU's `-kernel`; a `disk` image may boot by its own loader instead. */
  kernel?: string;
  /** Release (`uname -r`), if the kernel's file tells. */
  kernelRelease?: string;
  /** Initial RAM file systems, in the order in which they are concatenated. */
  initrds: string[];
  /** Disk with the root file system, or with everything. */
  disk?: ImageDisk;
  /** Kernel arguments of the image itself, without those that every machine gets. */
  cmdline: string;
  /** Whether the agent is process 1; otherwise it is a service of the image's own init. */
  agentIsInit: boolean;
  /** What a user may want to know, such as why the kernel is not uncompressed. */
  notes: string[];
  /** What it contains that others wrote. */
  parts: ImagePart[];
  /** What an archive that is appended has to respect; see {@linkcode bootFilesCpio}. */
  layout?: ImageLayout;
}
