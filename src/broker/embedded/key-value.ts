/**
 * The KeyValue port on the `fact` table: conditions are checked and written in one turn, flushed with the
 * next commit.
 */
import { FactChangedError, InvalidArgumentError, TooLargeError } from '../../errors.js';
import type { TaskId } from '../../task/task.js';
import type { Fact, FactChange, KeyValue, ListedFact, PutCondition } from '../key-value.js';
import type { Core } from './core.js';
import { afterPrefix } from './tables.js';

const MAX_KEY_CHARS = 512;
const MAX_VALUE_BYTES = 1024 * 1024;
const MAX_LISTED = 1_000;
const HEADER_BYTES = 16;
const EXPIRY_AT = 8;
/** Stands for one that is not known yet: all ids are of one length. */
const ANY_ID: TaskId = '0'.repeat(26);

export function embeddedKeyValue(core: Core): KeyValue {
  const { commits, tables } = core;
  const read = (key: string): Fact | undefined => {
    const row = tables.get('fact', key);
    return row === undefined ? undefined : factOf(row, core.now());
  };
  return {
    async get(key) {
      commits.checkOpen();
      return read(checkKey(key));
    },
    async put(key, value, { ifVersion, expiresAt }: PutCondition = {}) {
      commits.check();
      checkSize(value);
      const stored = checkKey(key);
      const version = read(stored)?.version ?? 0;
      if (ifVersion !== undefined && ifVersion !== version) return undefined;
      tables.put('fact', stored, rowOf(value, version + 1, expiresAt));
      if (expiresAt !== undefined) commits.turn.expiries.add(expiresAt, 'fact', stored);
      await commits.changed();
      return version + 1;
    },
    async delete(key, ifVersion) {
      commits.check();
      const stored = checkKey(key);
      const fact = read(stored);
      if (fact === undefined || (ifVersion !== undefined && ifVersion !== fact.version)) return false;
      tables.delete('fact', stored);
      await commits.changed();
      return true;
    },
    async list(prefix, limit, after) {
      commits.checkOpen();
      if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LISTED) {
        throw new InvalidArgumentError('limit', `an integer from 1 to ${MAX_LISTED}`, limit);
      }
      return list(core, latin1(prefix), limit, after === undefined ? '' : `${latin1(after)}\0`);
    },
  };
}

/**
 * A fact that comes with tasks: whatever could be refused is refused when this is made, before the tasks are
 * placed; `put` follows.
 */
export class FactWriter {
  readonly #core: Core;
  readonly #change: FactChange;
  readonly #stored: string;
  readonly #version: number;

  /** @throws {FactChangedError} {@link InvalidArgumentError} {@link TooLargeError} */
  constructor(core: Core, change: FactChange, taskCount: number) {
    this.#core = core;
    this.#change = change;
    this.#stored = checkKey(change.key);
    const row = core.tables.get('fact', this.#stored);
    this.#version = (row === undefined ? undefined : factOf(row, core.now()))?.version ?? 0;
    const { key, ifVersion = this.#version } = change;
    if (ifVersion !== this.#version) throw new FactChangedError(key, ifVersion, this.#version);
    checkSize(change.value(new Array<TaskId>(taskCount).fill(ANY_ID)));
  }

  put(ids: readonly TaskId[]): void {
    this.#core.tables.put('fact', this.#stored, rowOf(this.#change.value(ids), this.#version + 1, undefined));
  }
}

function checkSize(value: Uint8Array): void {
  if (value.length > MAX_VALUE_BYTES) throw new TooLargeError('value', value.length, MAX_VALUE_BYTES);
}

/** Goes on where expired facts have left gaps, until the page is full or the prefix ends. */
function list(core: Core, prefix: string, limit: number, after: string): ListedFact[] {
  const end = afterPrefix(prefix);
  const found: ListedFact[] = [];
  for (let start = after > prefix ? after : prefix; start < end && found.length < limit; ) {
    const rows = core.tables.range('fact', { start, end, limit: limit - found.length });
    for (const [key, row] of rows) {
      start = `${key}\0`;
      const fact = factOf(row, core.now());
      if (fact !== undefined) found.push({ key: Buffer.from(key, 'latin1').toString('utf8'), fact });
    }
    if (rows.length === 0) break;
  }
  return found;
}

function rowOf(value: Uint8Array, version: number, expiresAt: number | undefined): Buffer {
  const row = Buffer.allocUnsafe(HEADER_BYTES + value.length);
  row.writeDoubleBE(version, 0);
  row.writeDoubleBE(expiresAt ?? 0, EXPIRY_AT);
  row.set(value, HEADER_BYTES);
  return row;
}

function factOf(bytes: Uint8Array, now: number): Fact | undefined {
  const expiresAt = expiresAtOf(bytes);
  if (expiresAt > 0 && expiresAt <= now) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { version: view.getFloat64(0), value: new Uint8Array(bytes.subarray(HEADER_BYTES)) };
}

/** When a stored fact vanishes, epoch ms; 0 is never. */
export function expiresAtOf(row: Uint8Array): number {
  return new DataView(row.buffer, row.byteOffset, row.byteLength).getFloat64(EXPIRY_AT);
}

function checkKey(key: string): string {
  if (typeof key !== 'string' || key.length === 0 || key.length > MAX_KEY_CHARS) {
    throw new InvalidArgumentError('key', `1 to ${MAX_KEY_CHARS} characters`);
  }
  return latin1(key);
}

function latin1(key: string): string {
  return Buffer.from(key, 'utf8').toString('latin1');
}
