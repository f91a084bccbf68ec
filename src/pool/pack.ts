/**
 * Packs items for the way to a thread: one exact-size array per batch. Bodies are copied, never decoded. The
 * layout is in `workers/protocol.ts`.
 */
import { type BatchMessage, MAX_ATTEMPT, MAX_NAMES, ROW_HEADER_BYTES } from '../../workers/protocol.js';
import type { PoolItem } from './pool.js';

/** From this size on, rows are moved to the thread instead of copied once more. */
export const TRANSFER_BYTES = 16_384;

/**
 * The rows of `items`.
 * @param indexOf  Index of a name in the thread's table.
 */
export function packRows(items: readonly PoolItem[], indexOf: (name: string) => number): Uint8Array {
  let size = items.length * ROW_HEADER_BYTES;
  for (const { bodyBytes, moved } of items) size += moved === undefined ? bodyBytes : 0;
  const rows = new Uint8Array(size);
  let at = 0;
  for (const item of items) {
    const length = item.moved === undefined ? item.bodyBytes : 0;
    const name = indexOf(item.name);
    const attempt = Math.min(item.attempt, MAX_ATTEMPT);
    rows[at] = length;
    rows[at + 1] = length >>> 8;
    rows[at + 2] = length >>> 16;
    rows[at + 3] = length >>> 24;
    rows[at + 4] = name;
    rows[at + 5] = name >>> 8;
    rows[at + 6] = attempt;
    rows[at + 7] = attempt >>> 8;
    item.writeId(rows, at + 8);
    at += ROW_HEADER_BYTES;
    if (length > 0) item.copyBody(rows, at);
    at += length;
  }
  return rows;
}

/** Which fires the items are of; `undefined` when none is of any. */
export function firesOf(items: readonly PoolItem[]): BatchMessage['fires'] {
  for (const { schedule } of items) {
    if (schedule !== undefined) return items.map((item) => item.schedule);
  }
  return undefined;
}

/** The names a thread knows by index. It only ever grows, or begins anew when it is full. */
export class NameTable {
  readonly #indexes = new Map<string, number>();
  #fresh: string[] = [];
  #wasReset = false;

  indexOf(name: string): number {
    let index = this.#indexes.get(name);
    if (index === undefined) {
      index = this.#indexes.size;
      this.#indexes.set(name, index);
      this.#fresh.push(name);
    }
    return index;
  }

  /** Before a batch of at most `count` new names. */
  makeRoom(count: number): void {
    if (this.#indexes.size === 0 || this.#indexes.size + count <= MAX_NAMES) return;
    this.#indexes.clear();
    this.#wasReset = true;
  }

  /** What the thread must be told with the next batch. */
  takeNews(): { readonly names?: readonly string[]; readonly resetNames?: boolean } {
    if (this.#fresh.length === 0) return NO_NEWS;
    const news = { names: this.#fresh, ...(this.#wasReset ? { resetNames: true } : {}) };
    this.#fresh = [];
    this.#wasReset = false;
    return news;
  }
}

const NO_NEWS = Object.freeze({});
