/** `running.bin`: the tasks in the hands of threads, as the next owner reads them. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, it } from 'vitest';
import type { EmbeddedClaim } from '#src/broker/embedded/claim.js';
import { taskKey } from '#src/broker/embedded/keys.js';
import { PAGE_BYTES, RunningFile, readSuspects } from '#src/broker/lmdb/running-file.js';

const folder = mkdtempSync(join(tmpdir(), 'millrace-running-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let serial = 0;
const freshPath = (): string => join(folder, `${serial++}.bin`);

/** Claims of tasks in one segment. */
function claims(segment: number, ...indexes: readonly number[]): EmbeddedClaim[] {
  return indexes.map((index) => ({ segment: { number: segment }, index }) as unknown as EmbeddedClaim);
}

function keys(segment: number, ...indexes: readonly number[]): string[] {
  return indexes.map((index) => taskKey(segment, index));
}

function assertSuspects(path: string, expected: readonly string[]): void {
  assert.deepEqual([...readSuspects(path)].sort(), [...expected].sort());
}

describe('running.bin', () => {
  it('names what is held, and nothing that was let go', () => {
    const path = freshPath();
    const file = new RunningFile(path, 1);
    assertSuspects(path, []);
    const first = file.hold(claims(7, 0, 1, 2, 9));
    const second = file.hold(claims(2 ** 40, 255));
    assertSuspects(path, [...keys(7, 0, 1, 2, 9), ...keys(2 ** 40, 255)]);
    first.release();
    first.release();
    assertSuspects(path, keys(2 ** 40, 255));
    file.hold(claims(8, 3));
    assertSuspects(path, [...keys(2 ** 40, 255), ...keys(8, 3)]);
    second.release();
    assert.ok(statSync(path).size <= 2 * PAGE_BYTES, 'pages are used again');
    file.close();
  });

  it('takes any number of claims in one hold', () => {
    const path = freshPath();
    const file = new RunningFile(path, 1);
    const many = Array.from({ length: 2_000 }, (_, at) => at * 3);
    const hold = file.hold(claims(5, ...many));
    assertSuspects(path, keys(5, ...many));
    hold.release();
    assertSuspects(path, []);
    file.hold([]);
    assertSuspects(path, []);
    file.close();
  });

  it('uses the record of a task that has one', () => {
    const path = freshPath();
    const file = new RunningFile(path, 1);
    file.hold([
      { segment: { number: 9 }, index: 1, record: { segment: 4, index: 6 } } as unknown as EmbeddedClaim,
    ]);
    assertSuspects(path, keys(4, 6));
    file.close();
  });

  it('of a new owner begins with what it has inherited, until that has ended', () => {
    const path = freshPath();
    const old = new RunningFile(path, 1);
    old.hold(claims(1, ...Array.from({ length: 900 }, (_, at) => at * 2)));
    old.close();
    const inherited = readSuspects(path);
    assert.equal(inherited.size, 900);
    const file = new RunningFile(path, 2, inherited);
    file.hold(claims(3, 5));
    assertSuspects(path, [...inherited, ...keys(3, 5)]);
    for (const key of [...inherited].slice(1)) inherited.delete(key);
    file.inheritedChanged();
    assertSuspects(path, [...inherited, ...keys(3, 5)]);
    inherited.clear();
    file.inheritedChanged();
    assertSuspects(path, keys(3, 5));
    file.close();
  });

  it('forgets what older owners wrote', () => {
    const path = freshPath();
    const old = new RunningFile(path, 3);
    old.hold(claims(1, 1));
    old.hold(claims(1, 2));
    old.close();
    const pages = readFileSync(path);
    const file = new RunningFile(path, 4);
    file.hold(claims(2, 2));
    file.close();
    writeFileSync(
      path,
      Buffer.concat([readFileSync(path), Buffer.alloc(PAGE_BYTES), pages]).subarray(0, 5 * PAGE_BYTES),
    );
    assertSuspects(path, keys(2, 2));
  });

  it('that is missing, cut off or overwritten names no more than it can vouch for', () => {
    assertSuspects(join(folder, 'missing.bin'), []);
    const path = freshPath();
    const file = new RunningFile(path, 1);
    file.hold(claims(1, 1));
    file.hold(claims(1, 5));
    file.close();
    truncateSync(path, statSync(path).size - 1);
    assertSuspects(path, keys(1, 1));
    const bytes = readFileSync(path);
    bytes[14]! ^= 1;
    writeFileSync(path, bytes);
    assertSuspects(path, []);
    writeFileSync(path, Buffer.alloc(10_000, 0xff));
    assertSuspects(path, []);
    writeFileSync(path, 'x');
    assertSuspects(path, []);
  });
});
