/** Keeps the last bytes of what is written, up to a fixed number; grows as needed. */
export class Ring {
  #max: number;
  #data = new Uint8Array(0);
  #start = 0;
  #size = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#size;
  }

  get max(): number {
    return this.#max;
  }

  /** Adds bytes, and drops the oldest that do not fit any more. */
  push(chunk: Uint8Array): void {
    const bytes = chunk.length > this.#max ? chunk.subarray(chunk.length - this.#max) : chunk;
    if (bytes.length === 0) return;
    this.#reserve(Math.min(this.#max, this.#size + bytes.length));
    const capacity = this.#data.length;
    const overflow = Math.max(0, this.#size + bytes.length - capacity);
    this.#start = (this.#start + overflow) % capacity;
    this.#size -= overflow;
    const at = (this.#start + this.#size) % capacity;
    const first = Math.min(bytes.length, capacity - at);
    this.#data.set(bytes.subarray(0, first), at);
    this.#data.set(bytes.subarray(first), 0);
    this.#size += bytes.length;
  }

  /** Copies the last `count` bytes, oldest first. */
  tail(count: number): Uint8Array<ArrayBuffer> {
    const length = Math.min(count, this.#size);
    const out = new Uint8Array(length);
    if (length === 0) return out;
    const capacity = this.#data.length;
    const at = (this.#start + this.#size - length) % capacity;
    const first = Math.min(length, capacity - at);
    out.set(this.#data.subarray(at, at + first), 0);
    out.set(this.#data.subarray(0, length - first), first);
    return out;
  }

  /** Keeps only the last `count` bytes and gives the rest of the memory back. */
  shrink(count: number): void {
    this.#data = this.tail(count);
    this.#start = 0;
    this.#size = this.#data.length;
  }

  #reserve(needed: number): void {
    if (needed <= this.#data.length) return;
    const capacity = Math.min(this.#max, Math.max(needed, this.#data.length * 2, 1024));
    const kept = this.tail(this.#size);
    this.#data = new Uint8Array(capacity);
    this.#data.set(kept);
    this.#start = 0;
  }
}
