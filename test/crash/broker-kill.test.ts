/**
 * SIGKILL at random moments: whatever the owner was doing, all that it acknowledged is there when the next
 * one opens the store, with the right bytes, and every row agrees with every other.
 */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import type { Backend } from '#src/broker/broker.js';
import { openLmdb } from '#src/broker/lmdb/lmdb.js';
import { lmdbTables } from '#src/broker/lmdb/lmdb-tables.js';
import { isBlobRef } from '#src/task/blob-ref.js';
import { checkStore, placeOf, type StoredTask } from '../broker/store-check.js';
import { payloadFor, resultFor, seeded } from '../fixtures/kill-oracle.js';

const KILLS = Number(process.env.KILLS ?? 12);
const SEED = Number(process.env.SEED ?? 20_261_122);
const folder = mkdtempSync(join(tmpdir(), 'millrace-kill-'));
const store = join(folder, 'store');
const log = join(folder, 'acknowledged.log');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What the children acknowledged of one task, in order. */
interface Known {
  readonly text: string;
  readonly events: string[];
}

class Oracle {
  readonly tasks = new Map<string, Known>();
  #read = 0;

  /** @returns ids of tasks that were spoken of since the last call. */
  readOn(): Set<string> {
    const text = existsSync(log) ? readFileSync(log, 'latin1') : '';
    // A line that the kill cut off was not acknowledged.
    const end = text.lastIndexOf('\n') + 1;
    const touched = new Set<string>();
    for (const line of text.slice(this.#read, end).split('\n')) {
      if (line === '') continue;
      const [event = '', id = '', ...rest] = line.split(' ');
      assert.notEqual(event, '!', line);
      const known = this.tasks.get(id) ?? { text: rest.join(' '), events: [] };
      known.events.push(event);
      assert.equal(known.text, rest.join(' '), 'an id names one task');
      this.tasks.set(id, known);
      touched.add(id);
    }
    this.#read = end;
    return touched;
  }
}

async function killOne(seed: number, lifeMs: number): Promise<void> {
  const fixture = join(process.cwd(), 'dist/test/fixtures/broker-kill.js');
  const child = fork(fixture, [store, log, String(seed)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = once(child, 'exit');
  await Promise.race([once(child, 'message'), ended]);
  await setTimeout(lifeMs);
  child.kill('SIGKILL');
  const [code, signal] = await ended;
  assert.deepEqual([code, signal], [null, 'SIGKILL'], 'the child dies of nothing else');
}

/** Looked up through the port, by each kill; the rows are all looked at. */
const LOOKED_UP = 200;
const STATES: Readonly<Record<string, string>> = {
  C: 'completed',
  c: 'completed',
  D: 'dead',
  X: 'cancelled',
};

function checkTask(id: string, { text, events }: Known, stored: StoredTask | undefined): void {
  const ends = events.filter((event) => event in STATES);
  assert.ok(ends.length <= 1, `${id} was settled ${ends.length} times`);
  if (stored === undefined && events.includes('k')) return;
  assert.ok(stored !== undefined, `${id} is there, with ${events}`);
  if (ends[0] !== undefined) assert.equal(stored.state, STATES[ends[0]], id);
  const { result } = stored;
  if (result !== undefined && !isBlobRef(result))
    assert.ok(resultFor(text).equals(result), `result of ${id}`);
  if (stored.state === 'dead') assert.equal(stored.reason, text);
}

async function open(): Promise<Backend> {
  return openLmdb({
    ...{ folder: store, ifLocked: 'fail', now: () => Date.now() },
    limits: { maxPendingEnqueues: 1_000, maxPendingBytes: 1_000_000 },
    space: { maxBytes: Number.POSITIVE_INFINITY, minFreeBytes: 0 },
    onCorrupt: (error) => assert.fail(error),
  });
}

async function check(oracle: Oracle, ids: ReadonlySet<string>): Promise<void> {
  const tables = await lmdbTables(join(store, 'data.mdb'), 1_000_000);
  const { tasks, blobs } = checkStore(tables);
  for (const id of ids) checkTask(id, oracle.tasks.get(id)!, tasks.get(placeOf(id)));
  await tables.close();
  const { broker, inspect, close } = await open();
  for (const id of new Set([...[...ids].slice(-LOOKED_UP), ...largeOf(ids, oracle)])) {
    const view = await inspect!.get(id);
    const { text } = oracle.tasks.get(id)!;
    if (view?.body !== undefined) assert.ok(payloadFor(text).equals(view.body), `payload of ${id}`);
    if (view?.state !== 'completed') continue;
    assert.ok(resultFor(text).equals((await broker.settled(id)).result!), `result of ${id}`);
  }
  // What the death has left unfinished is gone, and nothing else.
  assert.deepEqual(readdirSync(join(store, 'blobs')).sort(), Object.keys(blobs).sort());
  await close();
}

/** All that waits and has ended, in files or not. */
function largeOf(ids: Iterable<string>, oracle: Oracle): string[] {
  return [...ids].filter((id) => {
    const { text } = oracle.tasks.get(id)!;
    return payloadFor(text).length > 16_000 || resultFor(text).length > 16_000;
  });
}

it(`keeps what was acknowledged over ${KILLS} kills`, { timeout: 60_000 + KILLS * 2_000 }, async () => {
  const random = seeded(SEED);
  const oracle = new Oracle();
  for (let kill = 0; kill < KILLS; kill++) {
    await killOne(SEED + kill, random() ** 2 * 500);
    await check(oracle, oracle.readOn());
  }
  await check(oracle, new Set(oracle.tasks.keys()));
  const all = [...oracle.tasks.values()].flatMap(({ events }) => events);
  const count = (event: string): number => all.filter((each) => each === event).length;
  console.info(
    `accepted ${count('A')}, completed ${count('C') + count('c')}, dead ${count('D')}, ` +
      `with large bytes ${largeOf(oracle.tasks.keys(), oracle).length}, seed ${SEED}`,
  );
  expect(count('C')).toBeGreaterThan(1_000);
});
