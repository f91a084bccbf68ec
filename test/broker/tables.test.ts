/** The two drivers of ordered tables must read alike, whatever was put, committed or not. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, it } from 'vitest';
import { memoryTables } from '#src/broker/embedded/memory-tables.js';
import { afterPrefix, type Row, type Tables } from '#src/broker/embedded/tables.js';
import { lmdbTables } from '#src/broker/lmdb/lmdb-tables.js';

const folder = mkdtempSync(join(tmpdir(), 'millrace-tables-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Few keys, so that they meet; all bytes, since keys are bytes. */
const key = fc
  .array(fc.constantFrom('\0', '\x01', 'a', 'ÿ', '\x80'), { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join(''));
const bound = fc.oneof(key, fc.constantFrom('', '\u0100'));
const action = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('put' as const), key, size: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('commit' as const, 'wait' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('range' as const),
      bounds: fc.tuple(bound, bound),
      limit: fc.integer({ min: 1, max: 6 }),
      reverse: fc.boolean(),
    }),
  },
);

function readable(rows: readonly Row[]): [string, string][] {
  return rows.map(([name, value]) => [name, Buffer.from(value).toString('hex')]);
}

let serial = 0;
async function compare(actions: readonly (typeof action extends fc.Arbitrary<infer A> ? A : never)[]) {
  const lmdb = await lmdbTables(join(folder, `${serial++}.mdb`), 1);
  const memory = memoryTables();
  const both: Tables[] = [lmdb, memory];
  let committed = Promise.resolve();
  for (const each of actions) {
    if (each.kind === 'put') {
      const value = Buffer.alloc(each.size, serial++);
      for (const tables of both) tables.put('task', each.key, value);
    } else if (each.kind === 'delete') {
      for (const tables of both) tables.delete('task', each.key);
    } else if (each.kind === 'range') {
      const [start, end] = [...each.bounds].sort() as [string, string];
      const range = { start, end, limit: each.limit, reverse: each.reverse };
      assert.deepEqual(readable(lmdb.range('task', range)), readable(memory.range('task', range)));
    } else {
      // One commit at a time, as the port says; reads go on beside it.
      await committed;
      if (each.kind === 'commit') committed = lmdb.commit();
    }
    for (const name of ['a', '\0', 'ÿ', 'a\0']) {
      assert.equal(lmdb.has('task', name), memory.has('task', name));
      assert.deepEqual(lmdb.get('task', name)?.length, memory.get('task', name)?.length);
    }
  }
  await committed;
  await lmdb.close();
}

describe('ordered tables', () => {
  it('read alike in both drivers', () =>
    fc.assert(fc.asyncProperty(fc.array(action, { minLength: 20, maxLength: 120 }), compare), {
      numRuns: 25,
    }));

  it('take a million keys in any order', () => {
    const tables = memoryTables();
    const value = Buffer.alloc(0);
    for (let at = 0; at < 200_000; at++)
      tables.put('ready', String((at * 7_919) % 200_003).padStart(6, '0'), value);
    for (let at = 0; at < 200_000; at += 2)
      tables.delete('ready', String((at * 7_919) % 200_003).padStart(6, '0'));
    const rows = tables.range('ready', { start: '', end: '\u0100', limit: 1_000_000 });
    assert.equal(rows.length, 100_000);
    assert.ok(rows.every(([name], at) => at === 0 || rows[at - 1]![0] < name));
  });

  it('know the first key after a prefix', () => {
    const CASES: readonly [string, string][] = [
      ['a', 'b'],
      ['aÿ', 'b'],
      ['ÿÿ', '\u0100'],
      ['', '\u0100'],
      ['a\0', 'a\x01'],
    ];
    for (const [prefix, expected] of CASES) assert.equal(afterPrefix(prefix), expected);
  });
});
