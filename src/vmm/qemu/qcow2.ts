/** Bytes of a cluster, as a power of two: QEMU's own choice. */
const CLUSTER_BITS = 16;
const CLUSTER = 1 << CLUSTER_BITS;
/** Bytes that one L1 entry covers: a cluster full of 8-byte L2 entries. */
const L1_COVERS = CLUSTER * (CLUSTER / 8);
const MAGIC = 0x514649fb;
const HEADER_SIZE = 104;
/** Longest name of a backing file. */
const MAX_NAME = 1023;
const BACKING_FORMAT_EXTENSION = 0xe2792aca;

/** What a new overlay lies on. */
export interface BackingFile {
  /** Absolute path. */
  path: string;
  format: "raw" | "qcow2";
  /** Bytes that a guest sees. */
  size: number;
}

/**
 * Returns the content of an empty qcow2 overlay: a guest reads the backing file through it, and writes into it. Made here
 * since `qemu-img` comes in another package than QEMU.
 */
export function qcow2Overlay({ path, format, size }: BackingFile): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(path);
  if (name.length > MAX_NAME) {
    throw new RangeError(`Cannot use "${path}" as backing file: too long`);
  }
  const l1Entries = Math.max(1, Math.ceil(size / L1_COVERS));
  if (l1Entries * 8 > CLUSTER) throw new RangeError(`Cannot make an overlay of ${size} bytes`);
  const [refcountTable, refcountBlock, l1Table] = [1, 2, 3].map((index) => index * CLUSTER);
  const image = new Uint8Array(4 * CLUSTER);
  const view = new DataView(image.buffer);
  const nameAt = HEADER_SIZE + 8 + 8 + 8; // behind two extensions: the format, and the end
  view.setUint32(0, MAGIC);
  view.setUint32(4, 3); // version
  view.setBigUint64(8, BigInt(nameAt));
  view.setUint32(16, name.length);
  view.setUint32(20, CLUSTER_BITS);
  view.setBigUint64(24, BigInt(size));
  view.setUint32(36, l1Entries);
  view.setBigUint64(40, BigInt(l1Table!));
  view.setBigUint64(48, BigInt(refcountTable!));
  view.setUint32(56, 1); // clusters of the refcount table
  view.setUint32(96, 4); // refcounts of 16 bits
  view.setUint32(100, HEADER_SIZE);
  view.setUint32(HEADER_SIZE, BACKING_FORMAT_EXTENSION);
  view.setUint32(HEADER_SIZE + 4, format.length);
  image.set(new TextEncoder().encode(format), HEADER_SIZE + 8);
  image.set(name, nameAt);
  view.setBigUint64(refcountTable!, BigInt(refcountBlock!));
  for (let cluster = 0; cluster < 4; cluster++) view.setUint16(refcountBlock! + 2 * cluster, 1);
  return image;
}

/** Bytes that a guest sees of a qcow2 image, from its first 32 bytes. */
export function qcow2Size(header: Uint8Array): number {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  if (header.length < 32 || view.getUint32(0) !== MAGIC) {
    throw new SyntaxError("Cannot read disk image: it is no qcow2 file");
  }
  return Number(view.getBigUint64(24));
}

/** Returns what an overlay lies on, as its header names it; `undefined` if it lies on nothing or is no qcow2 file. */
export async function readBacking(path: string): Promise<string | undefined> {
  using file = await Deno.open(path);
  const header = await readAt(file, 0, HEADER_SIZE);
  const view = new DataView(header.buffer);
  if (header.length < HEADER_SIZE || view.getUint32(0) !== MAGIC) return undefined;
  const at = Number(view.getBigUint64(8));
  const length = view.getUint32(16);
  if (at === 0 || length > MAX_NAME) return undefined;
  return new TextDecoder().decode(await readAt(file, at, length));
}

/** Has an overlay lie on another file, in the place of a name that is at least as long. */
export async function setBacking(path: string, name: string): Promise<void> {
  const bytes = new TextEncoder().encode(name);
  using file = await Deno.open(path, { read: true, write: true });
  const header = await readAt(file, 0, HEADER_SIZE);
  const view = new DataView(header.buffer);
  if (bytes.length > view.getUint32(16)) {
    throw new RangeError(`Cannot name "${name}" in "${path}": there is no room`);
  }
  await writeAt(file, Number(view.getBigUint64(8)), bytes);
  view.setUint32(16, bytes.length);
  await writeAt(file, 0, header);
}

async function readAt(
  file: Deno.FsFile,
  at: number,
  size: number,
): Promise<Uint8Array<ArrayBuffer>> {
  await file.seek(at, Deno.SeekMode.Start);
  const bytes = new Uint8Array(size);
  let got = 0;
  while (got < size) {
    const n = await file.read(bytes.subarray(got));
    if (n === null) break; // a file that is shorter
    got += n;
  }
  return bytes.slice(0, got);
}

async function writeAt(file: Deno.FsFile, at: number, bytes: Uint8Array): Promise<void> {
  await file.seek(at, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}
