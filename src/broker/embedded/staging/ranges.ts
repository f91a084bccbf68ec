/**
 * Which numbers of segments belong to batches that are being staged. Rows of a staged batch are put where
 * they will stay, under numbers that were set apart for it; while its row in `meta` says `staging`, whoever
 * reads segments passes over those numbers with one step. So one small row makes a whole batch ready, or
 * nothing.
 *
 *     meta   stage:[first u48]  [end u48][state u8] then per queue [queue u16][blocked f64]
 *     later  [endless 6][segment 6][index 2]  [run at u48]   a delayed task of a batch that is not linked yet
 *
 *     staging ──accept──▶ (row deleted)            nothing of the batch is delayed
 *             ──accept──▶ linking ──▶ (deleted)    its delayed tasks get their places by due time, bit by bit
 *             ──abandon or a new owner──▶ abandoned ──▶ (deleted)   its rows are deleted, bit by bit
 */
import { putU48, readU16, readU48, U48_MAX, u48 } from '../keys.js';
import { afterPrefix, type TableName, type Tables } from '../tables.js';

const PREFIX = 'stage:';
const STATES = ['staging', 'linking', 'abandoned'] as const;
/** More than may ever be staged at once. */
const MAX_RANGES = 65_536;
const QUEUE_BYTES = 10;

/** Begins the keys of `later` that nobody promotes yet. */
export const PARKED = u48(U48_MAX);

export class StageRange {
  readonly first: number;
  /** The first number after it. */
  readonly end: number;
  state: (typeof STATES)[number];
  /** Tasks that count as blocked, by queue number. */
  readonly blocked = new Map<number, number>();

  constructor(first: number, end: number, state: StageRange['state'] = 'staging') {
    this.first = first;
    this.end = end;
    this.state = state;
  }
}

export class StageRanges {
  readonly #tables: Tables;
  #all: StageRange[] = [];

  constructor(tables: Tables) {
    this.#tables = tables;
    const range = { start: PREFIX, end: afterPrefix(PREFIX), limit: MAX_RANGES };
    for (const [key, value] of tables.range('meta', range)) this.#all.push(readRange(key, value));
  }

  get all(): readonly StageRange[] {
    return this.#all;
  }

  /** The range that hides this segment from everybody. */
  hiding(segment: number): StageRange | undefined {
    for (const range of this.#all) {
      if (segment >= range.first && segment < range.end && range.state !== 'linking') return range;
    }
    return undefined;
  }

  /** Whether delayed tasks of this segment may not be in their places yet. */
  isLinking(segment: number): boolean {
    return this.#all.some(
      ({ first, end, state }) => state === 'linking' && segment >= first && segment < end,
    );
  }

  /** Where to read on in `ready` or `later` when the row of this key is hidden. */
  pastHidden(table: TableName, key: string): string | undefined {
    if (this.#all.length === 0 || (table !== 'ready' && table !== 'later')) return undefined;
    const at = key.length - (table === 'ready' ? 6 : 8);
    const hidden = this.hiding(readU48(key, at));
    return hidden === undefined ? undefined : key.slice(0, at) + u48(hidden.end);
  }

  add(range: StageRange): void {
    this.#all.push(range);
    this.put(range);
  }

  put(range: StageRange): void {
    this.#tables.put('meta', PREFIX + u48(range.first), sealRange(range));
  }

  /** Takes the row away. Only `forget` lets others see the segments. */
  delete(range: StageRange): void {
    this.#tables.delete('meta', PREFIX + u48(range.first));
  }

  forget(range: StageRange): void {
    this.#all = this.#all.filter((other) => other !== range);
  }
}

function sealRange({ end, state, blocked }: StageRange): Buffer {
  const row = Buffer.alloc(7 + blocked.size * QUEUE_BYTES);
  putU48(row, end, 0);
  row[6] = STATES.indexOf(state);
  let at = 7;
  for (const [queue, count] of blocked) {
    row.writeUInt16BE(queue, at);
    row.writeDoubleBE(count, at + 2);
    at += QUEUE_BYTES;
  }
  return row;
}

function readRange(key: string, value: Uint8Array): StageRange {
  const row = Buffer.from(value);
  const text = row.toString('latin1');
  const range = new StageRange(readU48(key, PREFIX.length), readU48(text, 0), STATES[row[6]!] ?? 'abandoned');
  for (let at = 7; at + QUEUE_BYTES <= row.length; at += QUEUE_BYTES) {
    range.blocked.set(readU16(text, at), row.readDoubleBE(at + 2));
  }
  return range;
}

/** Key in `later` of a delayed task that is not linked yet. */
export function parkedKey(taskKey: string): string {
  return PARKED + taskKey;
}
