/** A claim on a thread, and the batch it went with. */
import type { Claim, Hold } from '../broker/broker.js';
import type { Batch, PoolItem } from '../pool/pool.js';
import type { LogLine, TransferredPayload } from '../task/task.js';
import type { ResolvedOptions } from '../task/task-options.js';
import type { NameEntry } from './registry.js';

/** One claim on a thread. It is the pool's item and its own token. */
export class RunningItem implements PoolItem<RunningItem> {
  readonly claim: Claim;
  readonly entry: NameEntry;
  readonly rules: ResolvedOptions;
  readonly moved?: NonNullable<PoolItem['moved']>;
  batch!: RunningBatch;
  index = 0;
  cancelReason: string | undefined;
  /** When its note was last kept, on the monotonic clock. */
  notedAt = Number.NEGATIVE_INFINITY;
  #progress: unknown;
  #logs: LogLine[] | undefined;

  constructor(claim: Claim, entry: NameEntry) {
    this.claim = claim;
    this.entry = entry;
    this.rules = entry.rulesOf(claim.queue, claim.options);
    if (claim.transfer !== undefined)
      this.moved = movedPayload(claim.transfer, claim.attempt >= this.rules.maxAttempts);
    claim.holder = this;
  }

  get token(): this {
    return this;
  }
  get name(): string {
    return this.claim.name;
  }
  get attempt(): number {
    return this.claim.attempt;
  }
  get isSuspect(): boolean {
    return this.claim.suspect;
  }
  get schedule(): PoolItem['schedule'] {
    return this.claim.schedule;
  }
  get bodyBytes(): number {
    return this.claim.bodyBytes;
  }
  get timeoutMs(): number {
    return this.rules.timeoutMs;
  }
  get killGraceMs(): number {
    return this.rules.killGraceMs;
  }
  copyBody(target: Uint8Array, at: number): void {
    this.claim.copyBody(target, at);
  }
  writeId(target: Uint8Array, at: number): void {
    this.claim.writeId(target, at);
  }

  /** All that its handler has reported so far. */
  get note(): { readonly progress?: unknown; readonly logs?: readonly LogLine[] } {
    return {
      ...(this.#progress === undefined ? {} : { progress: this.#progress }),
      ...(this.#logs === undefined ? {} : { logs: [...this.#logs] }),
    };
  }

  setProgress(value: unknown): void {
    this.#progress = value;
  }

  addLog(at: number, message: string): void {
    this.#logs ??= [];
    if (this.#logs.length < MAX_LOGS) this.#logs.push({ at, message });
  }
}

/** One more than a handler may write: the count of those that were dropped. */
const MAX_LOGS = 101;

/** Items handed over together, and the mark that says so durably. */
export interface RunningBatch {
  readonly batch: Batch<RunningItem>;
  readonly items: readonly RunningItem[];
  readonly hold: Hold;
  /** Of its first item; where threads of a queue are limited, of all. */
  readonly queue: string;
  /** Lowest rank among its items. */
  readonly minRank: number;
  /** Items neither reported nor taken back. */
  left: number;
}

/** Each attempt but the last gets a copy of the buffers; the last gets the buffers themselves. */
function movedPayload(transfer: TransferredPayload, isLast: boolean): TransferredPayload {
  return isLast ? transfer : structuredClone({ value: transfer.value, list: transfer.list });
}
