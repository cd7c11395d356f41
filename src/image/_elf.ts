/** A section of an ELF file. */
export interface ElfSection {
  name: string;
  type: number;
  bytes: Uint8Array;
}

const MACHINES: Record<number, string> = { 62: "x86_64", 183: "aarch64" };
const PT_INTERP = 3;
const PT_NOTE = 4;
/** Type of the note "Xen" that holds the 32-bit entry point for a direct boot (PVH). */
const XEN_PHYS32_ENTRY = 18;

/** A little-endian 64-bit ELF file, read as far as its headers say; its contents are never trusted. */
export class Elf {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  /** @throws {SyntaxError} If the bytes are no 64-bit little-endian ELF file. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (!isElf(bytes) || bytes.length < 64 || bytes[4] !== 2 || bytes[5] !== 1) {
      throw new SyntaxError("Cannot read ELF data: it is no 64-bit little-endian ELF file");
    }
  }

  /** Architecture as Deno names it, or `machine <n>` for others. */
  get arch(): string {
    const machine = this.#view.getUint16(18, true);
    return MACHINES[machine] ?? `machine ${machine}`;
  }

  /** Tells whether the program needs a dynamic loader. */
  get isDynamic(): boolean {
    return this.#segments().some((segment) => segment.type === PT_INTERP);
  }

  /** Tells whether QEMU can start this kernel directly, by the note that names its PVH entry. */
  get hasPvhEntry(): boolean {
    return this.#segments().some(({ type, bytes }) => type === PT_NOTE && hasPvhNote(bytes));
  }

  /** Returns the first section of that name. */
  section(name: string): ElfSection | undefined {
    return this.sections().find((section) => section.name === name);
  }

  /** Reads the section table. */
  sections(): ElfSection[] {
    const offset = this.#number64(0x28);
    const size = this.#view.getUint16(0x3a, true);
    const count = this.#view.getUint16(0x3c, true);
    const namesIndex = this.#view.getUint16(0x3e, true);
    if (offset === 0 || size < 64) return [];
    const headers = [];
    for (let i = 0; i < count; i++) {
      const at = offset + i * size;
      this.#check(at, 64);
      headers.push({
        name: this.#view.getUint32(at, true),
        type: this.#view.getUint32(at + 4, true),
        offset: this.#number64(at + 0x18),
        size: this.#number64(at + 0x20),
      });
    }
    // Sections of type NOBITS occupy no bytes of the file.
    const content = (header: { type: number; offset: number; size: number }) =>
      header.type === 8 ? new Uint8Array() : this.#slice(header.offset, header.size);
    const names = headers[namesIndex] ? content(headers[namesIndex]) : new Uint8Array();
    return headers.map((header) => ({
      name: stringAt(names, header.name),
      type: header.type,
      bytes: content(header),
    }));
  }

  #segments(): { type: number; bytes: Uint8Array }[] {
    const offset = this.#number64(0x20);
    const size = this.#view.getUint16(0x36, true);
    const count = this.#view.getUint16(0x38, true);
    if (offset === 0 || size < 56) return [];
    const segments = [];
    for (let i = 0; i < count; i++) {
      const at = offset + i * size;
      this.#check(at, 56);
      const type = this.#view.getUint32(at, true);
      segments.push({ type, bytes: this.#slice(this.#number64(at + 8), this.#number64(at + 32)) });
    }
    return segments;
  }

  #slice(offset: number, size: number): Uint8Array {
    this.#check(offset, size);
    return this.#bytes.subarray(offset, offset + size);
  }

  #number64(offset: number): number {
    this.#check(offset, 8);
    return Number(this.#view.getBigUint64(offset, true));
  }

  #check(offset: number, size: number): void {
    if (offset + size > this.#bytes.length) {
      throw new SyntaxError(
        `Cannot read ELF data: ${size} bytes at ${offset} lie outside ${this.#bytes.length} bytes`,
      );
    }
  }
}

/** Tells whether bytes begin as an ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

function hasPvhNote(notes: Uint8Array): boolean {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength);
  for (let at = 0; at + 12 <= notes.length;) {
    const nameSize = view.getUint32(at, true);
    const dataSize = view.getUint32(at + 4, true);
    const type = view.getUint32(at + 8, true);
    if (type === XEN_PHYS32_ENTRY && stringAt(notes, at + 12) === "Xen") return true;
    at += 12 + align4(nameSize) + align4(dataSize);
  }
  return false;
}

function align4(size: number): number {
  return Math.ceil(size / 4) * 4;
}

function stringAt(bytes: Uint8Array, offset: number): string {
  const end = bytes.indexOf(0, offset);
  return new TextDecoder().decode(bytes.subarray(offset, end < 0 ? bytes.length : end));
}
