/** A claim on a thread, and the batch it went with. */
import type { Claim, Hold } from '../broker/broker.js';
import type { Batch, PoolItem } from '../pool/pool.js';
import type { TransferredPayload } from '../task/task.js';
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
  #notedAt = 0;
  #logs: { at: number; message: string }[] | undefined;

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

  /** Whether a note is due again: at most one a second is stored per task. */
  mayNote(now: number): boolean {
    if (now - this.#notedAt < NOTE_EVERY_MS) return false;
    this.#notedAt = now;
    return true;
  }

  addLog(at: number, message: string): readonly { at: number; message: string }[] {
    this.#logs ??= [];
    if (this.#logs.length < MAX_LOGS) this.#logs.push({ at, message });
    return this.#logs;
  }
}

const NOTE_EVERY_MS = 1_000;
const MAX_LOGS = 100;

/** Items handed over together, and the mark that says so durably. */
export interface RunningBatch {
  readonly batch: Batch<RunningItem>;
  readonly items: readonly RunningItem[];
  readonly hold: Hold;
  /** Of its first item; where threads of a queue are limited, of all. */
  readonly queue: string;
  /** Lowest level among its items. */
  readonly minLevel: number;
  /** Items neither reported nor taken back. */
  left: number;
}

/** Each attempt but the last gets a copy of the buffers; the last gets the buffers themselves. */
function movedPayload(transfer: TransferredPayload, isLast: boolean): TransferredPayload {
  return isLast ? transfer : structuredClone({ value: transfer.value, list: transfer.list });
}
