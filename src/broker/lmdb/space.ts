/**
 * Refuses tasks before the store or its disk is full, so that what is accepted can always be settled:
 * settlements are never asked. Looks at most four times a second; between two looks it adds up what was let
 * in.
 */
import { statfsSync } from 'node:fs';
import { StoreFullError } from '../../errors.js';

export interface SpaceLimits {
  /** Bytes of pages in use and of files of large payloads and results; Infinity is no limit. */
  readonly maxBytes: number;
  /** Bytes that stay free on the disk. */
  readonly minFreeBytes: number;
}

const LOOK_EVERY_MS = 250;
/** Share of `maxBytes` that only settlements may use. */
const HEADROOM = 0.1;
/** What a small task takes beside its payload, until its result is pruned. */
const ROW_BYTES = 64;

export class Space {
  readonly #folder: string;
  readonly #limits: SpaceLimits;
  readonly #usedBytes: () => number;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #used = 0;
  #free = 0;

  constructor(folder: string, limits: SpaceLimits, usedBytes: () => number) {
    this.#folder = folder;
    this.#limits = limits;
    this.#usedBytes = usedBytes;
  }

  /** @throws {StoreFullError} when `tasks` with payloads of `bytes` together must not come in. */
  check(tasks: number, bytes: number): void {
    const more = bytes + tasks * ROW_BYTES;
    const refusal = this.refusal(more);
    if (refusal !== undefined) throw refusal;
    this.#used += more;
    this.#free -= more;
  }

  /** Why so many bytes more must not come in now, if so. */
  refusal(more: number): StoreFullError | undefined {
    const { maxBytes, minFreeBytes } = this.#limits;
    this.#look();
    const most = maxBytes * (1 - HEADROOM);
    const used = this.#used + more;
    if (used > most) return new StoreFullError(this.#folder, 'maxBytes', used, most);
    const free = this.#free - more;
    if (free < minFreeBytes) return new StoreFullError(this.#folder, 'minFreeBytes', free, minFreeBytes);
    return undefined;
  }

  #look(): void {
    const now = performance.now();
    if (now - this.#lookedAt < LOOK_EVERY_MS) return;
    this.#lookedAt = now;
    this.#used = Number.isFinite(this.#limits.maxBytes) ? this.#usedBytes() : 0;
    this.#free = Number.POSITIVE_INFINITY;
    if (this.#limits.minFreeBytes === 0) return;
    const { bavail, bsize } = statfsSync(this.#folder);
    this.#free = bavail * bsize;
  }
}
