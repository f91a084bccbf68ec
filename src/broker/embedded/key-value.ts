/** The KeyValue port on the `fact` table: conditions are checked and written in one turn, flushed with the next commit. */
import { InvalidArgumentError, TooLargeError } from '../../errors.js';
import type { Fact, KeyValue, PutCondition } from '../key-value.js';
import type { Core } from './core.js';
import { afterPrefix } from './tables.js';

const MAX_KEY_CHARS = 512;
const MAX_VALUE_BYTES = 1024 * 1024;
const HEADER_BYTES = 16;

export function embeddedKeyValue(core: Core): KeyValue {
  const read = (key: string): Fact | undefined => {
    const row = core.tables.get('fact', key);
    return row === undefined ? undefined : factOf(row, core.now());
  };
  return {
    get: async (key) => read(checkKey(key)),
    async put(key, value, { ifVersion, expiresAt }: PutCondition = {}) {
      core.commits.check();
      if (value.length > MAX_VALUE_BYTES) throw new TooLargeError('value', value.length, MAX_VALUE_BYTES);
      const stored = checkKey(key);
      const version = read(stored)?.version ?? 0;
      if (ifVersion !== undefined && ifVersion !== version) return undefined;
      const row = Buffer.allocUnsafe(HEADER_BYTES + value.length);
      row.writeDoubleBE(version + 1, 0);
      row.writeDoubleBE(expiresAt ?? 0, 8);
      row.set(value, HEADER_BYTES);
      core.tables.put('fact', stored, row);
      await core.commits.changed();
      return version + 1;
    },
    async delete(key, ifVersion) {
      core.commits.check();
      const stored = checkKey(key);
      const fact = read(stored);
      if (fact === undefined || (ifVersion !== undefined && ifVersion !== fact.version)) return false;
      core.tables.delete('fact', stored);
      await core.commits.changed();
      return true;
    },
    async list(prefix, limit, after) {
      const start = after === undefined ? latin1(prefix) : `${latin1(after)}\0`;
      const rows = core.tables.range('fact', { start, end: afterPrefix(latin1(prefix)), limit });
      const found: { key: string; fact: Fact }[] = [];
      for (const [key, row] of rows) {
        const fact = factOf(row, core.now());
        if (fact !== undefined) found.push({ key: Buffer.from(key, 'latin1').toString('utf8'), fact });
      }
      return found;
    },
  };
}

function factOf(bytes: Uint8Array, now: number): Fact | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const expiresAt = view.getFloat64(8);
  if (expiresAt > 0 && expiresAt <= now) return undefined;
  return { version: view.getFloat64(0), value: new Uint8Array(bytes.subarray(HEADER_BYTES)) };
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
