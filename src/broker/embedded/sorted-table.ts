/**
 * A Map whose keys can be walked in order, held in chunks of at most 1,024 so that an insert in the middle of
 * a million keys moves a few kilobytes. The memory driver is made of these, and the changes that LMDB has not
 * committed yet.
 */
const CHUNK_KEYS = 1024;

export class SortedTable<Value> {
  readonly values = new Map<string, Value>();
  readonly #chunks: string[][] = [[]];

  get size(): number {
    return this.values.size;
  }

  put(key: string, value: Value): void {
    if (!this.values.has(key)) this.#insert(key);
    this.values.set(key, value);
  }

  delete(key: string): void {
    if (!this.values.delete(key)) return;
    const at = this.#chunkOf(key);
    const chunk = this.#chunks[at]!;
    chunk.splice(lowerBound(chunk, key), 1);
    if (chunk.length === 0 && this.#chunks.length > 1) this.#chunks.splice(at, 1);
  }

  /**
   * Keys from `start` (inclusive) to `end` (exclusive), or back from `end` to `start`. The table must not
   * change meanwhile.
   */
  keys(start: string, end: string, reverse = false): KeyCursor {
    const from = reverse ? end : start;
    const at = this.#chunkOf(from);
    const index = lowerBound(this.#chunks[at]!, from) - (reverse ? 1 : 0);
    return new KeyCursor(this.#chunks, at, index, reverse, reverse ? start : end);
  }

  #insert(key: string): void {
    const at = this.#chunkOf(key);
    const chunk = this.#chunks[at]!;
    if (chunk.length === 0 || key > chunk[chunk.length - 1]!) chunk.push(key);
    else chunk.splice(lowerBound(chunk, key), 0, key);
    if (chunk.length > CHUNK_KEYS) this.#chunks.splice(at + 1, 0, chunk.splice(CHUNK_KEYS >> 1));
  }

  /** The last chunk whose first key is not after `key`. */
  #chunkOf(key: string): number {
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#chunks[middle]![0]! <= key) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

export class KeyCursor {
  readonly #chunks: readonly string[][];
  readonly #step: 1 | -1;
  readonly #stop: string;
  #at: number;
  #index: number;

  constructor(chunks: readonly string[][], at: number, index: number, reverse: boolean, stop: string) {
    this.#chunks = chunks;
    this.#at = at;
    this.#index = index;
    this.#step = reverse ? -1 : 1;
    this.#stop = stop;
  }

  /** The next key, `undefined` at the end. */
  next(): string | undefined {
    let key = this.#chunks[this.#at]?.[this.#index];
    if (key === undefined) {
      this.#at += this.#step;
      const chunk = this.#chunks[this.#at];
      if (chunk === undefined) return undefined;
      this.#index = this.#step === 1 ? 0 : chunk.length - 1;
      key = chunk[this.#index];
      if (key === undefined) return undefined;
    }
    if (this.#step === 1 ? key >= this.#stop : key < this.#stop) return undefined;
    this.#index += this.#step;
    return key;
  }
}

/** Index of the first key that is not before `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
