/** Who holds a unique key. Keys of different task names never meet. */
import { ID_BYTES } from '../../task/id.js';
import type { UniqueKey } from '../../task/task.js';
import type { Core } from './core.js';
import { u16 } from './keys.js';

export class Uniques {
  readonly #core: Core;
  readonly #cancel: (holder: Uint8Array) => void;

  /**
   * @param cancel  Takes a waiting task away in favour of the one that replaces it; leaves a running one
   * alone.
   */
  constructor(core: Core, cancel: (holder: Uint8Array) => void) {
    this.#core = core;
    this.#cancel = cancel;
  }

  /** Id bytes of the task that holds the key now. */
  holder(name: string, key: string): Uint8Array | undefined {
    const row = this.#core.tables.get('unique', this.#key(name, key));
    if (row === undefined) return undefined;
    const until = takenUntil(row);
    return until > 0 && until <= this.#core.now() ? undefined : row.subarray(0, ID_BYTES);
  }

  isTaken(name: string, key: string): boolean {
    return this.#core.taskNames.find(name) !== undefined && this.holder(name, key) !== undefined;
  }

  take(name: string, unique: Omit<UniqueKey, 'onConflict'>, id: Uint8Array, now: number): void {
    const row = Buffer.alloc(ID_BYTES + 8);
    row.set(id, 0);
    row.writeDoubleBE(unique.forMs === undefined ? 0 : now + unique.forMs, ID_BYTES);
    const key = this.#key(name, unique.key);
    this.#core.tables.put('unique', key, row);
    if (unique.forMs !== undefined) this.#core.commits.turn.expiries.add(now + unique.forMs, 'unique', key);
  }

  replace(holder: Uint8Array): void {
    this.#cancel(holder);
  }

  /** A task with this key is final: frees the key unless it is held for a time or by another task by now. */
  free(name: string, unique: Omit<UniqueKey, 'onConflict'>, id: Uint8Array): void {
    if (unique.forMs !== undefined) return;
    const key = this.#key(name, unique.key);
    const row = this.#core.tables.get('unique', key);
    if (row !== undefined && Buffer.compare(row.subarray(0, ID_BYTES), id) === 0)
      this.#core.tables.delete('unique', key);
  }

  #key(name: string, key: string): string {
    return u16(this.#core.taskNames.number(name)) + Buffer.from(key, 'utf8').toString('latin1');
  }
}

/** Until when the key is taken, epoch ms; 0 is until the task is final. */
export function takenUntil(row: Uint8Array): number {
  return new DataView(row.buffer, row.byteOffset, row.byteLength).getFloat64(ID_BYTES);
}
