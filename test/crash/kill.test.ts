/**
 * The process is killed with SIGKILL again and again, at random moments: while tasks run and acknowledgements
 * are outstanding, while it opens, while it recovers. Goal: no accepted task is lost, none is settled twice,
 * none is charged. Method: the victim says what it does line by line, so what it had promised before each
 * kill is known; at the end every accepted id must be completed with the right bytes.
 *
 * `KILL_SEED=<n>` repeats the moments as far as a machine can.
 */

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { lmdbTables } from '#src/broker/lmdb/lmdb-tables.js';
import { openRuntime, type Runtime } from '#src/index.js';
import { silentLogger } from '#src/logger.js';
import { seeded } from '#src/testing/seeded.js';
import { checkStore } from '../broker/store-check.js';
import { Child } from '../runtime/child.js';
import { fixture } from '../runtime/harness.js';

/** `npm run test:long` kills it more often. */
const KILLS = Number(process.env.KILLS ?? 12);
const BUSY_KILLS = Math.floor(KILLS * 0.7);
/** Tasks that a life enqueues at most before it is killed; numbers of lives do not meet. */
const NUMBERS_PER_LIFE = 1_000_000;
const MOST_ACCEPTED = 60;
const MOST_BEGUN = 60;
const MOST_WAIT_MS = 6;
const MOST_OPENING_MS = 120;

const seed = Number(process.env.KILL_SEED ?? Date.now() % 1_000_000);
const random = seeded(seed);
const folder = mkdtempSync(join(tmpdir(), 'millrace-kill-'));
const store = join(folder, 'store');
const end = join(folder, 'end');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What all lives have said. */
const accepted = new Map<string, { readonly n: string; readonly kind: string }>();
const settled = new Map<string, string[]>();
let busyKills = 0;
let openingKills = 0;

describe(`a process that is killed ${KILLS} times`, () => {
  it(`loses no accepted task and settles each once (KILL_SEED=${seed})`, {
    timeout: KILLS * 6_000,
  }, async () => {
    for (let life = 0; life < KILLS; life++) await live(life);
    expect(busyKills).toBeGreaterThanOrEqual(BUSY_KILLS);
    expect(accepted.size).toBeGreaterThan(KILLS);
    writeFileSync(end, '');
    await checkAll();
    console.log(
      `killed ${KILLS} times (seed ${seed}): ${busyKills} with tasks running and enqueues unanswered, ` +
        `${openingKills} while opening; ${accepted.size} accepted tasks, all completed once`,
    );
  });
});

/** One life: from the start to the kill. */
async function live(life: number): Promise<void> {
  const child = new Child('crash-victim', store, String((life + 1) * NUMBERS_PER_LIFE), end);
  if (life % 6 === 5) {
    await child.line('opening');
    await pause(random() * MOST_OPENING_MS);
  } else {
    // The endless task runs and others do; then after so many acceptances, and a little later.
    await child.line('begins endless');
    await child.lineCount('begins', 2 + Math.floor(random() * MOST_BEGUN));
    await child.lineCount('accepted', 1 + Math.floor(random() * MOST_ACCEPTED));
    await pause(random() * MOST_WAIT_MS);
  }
  child.kill('SIGKILL');
  expect({ life, ended: await child.ended, errors: child.errors }).toEqual({
    life,
    ended: 'SIGKILL',
    errors: '',
  });
  remember(child.lines);
}

function remember(lines: readonly string[]): void {
  const running = new Set<string>();
  const asked = new Set<string>();
  for (const line of lines) {
    const [what, first = '', second = '', third = ''] = line.split(' ');
    if (what === 'asks') asked.add(first);
    if (what === 'accepted') {
      asked.delete(first);
      accepted.set(third, { n: first, kind: second });
    }
    if (what === 'begins') running.add(first);
    if (what === 'settled') {
      running.delete(first);
      settled.set(first, [...(settled.get(first) ?? []), second]);
    }
  }
  if (running.size > 1 && running.has('endless') && asked.size > 0) busyKills++;
  if (!lines.includes('open')) openingKills++;
}

/**
 * The last life: everything that was ever accepted is completed, with the bytes that follow from its number.
 */
async function checkAll(): Promise<void> {
  const url = fixture('runtime-crash-tasks');
  const { _expected, _data } = (await import(
    url.href
  )) as typeof import('../fixtures/runtime-crash-tasks.js');
  const services = { begin: () => {} };
  const runtime = await openRuntime({
    backend: store,
    tasks: url,
    threads: 2,
    logger: silentLogger,
    services,
  });
  try {
    for (const [id, { n, kind }] of accepted) {
      const result = await runtime.handle(id).result();
      if (kind === 'endless') expect(result).toBe('survived');
      else {
        const expected = kind === 'large' ? _data(Number(n)) : _expected(Number(n));
        expect(Buffer.compare(result as Uint8Array, expected)).toBe(0);
      }
    }
    await runtime.whenIdle();
    for (const ends of settled.values()) expect(ends).toEqual(['completed']);
    for (const [queue, { dead, cancelled, ready, scheduled, running }] of await runtime.counts()) {
      const rest = { dead, cancelled, ready, scheduled, running };
      expect({ queue, rest }).toEqual({
        queue,
        rest: { dead: 0, cancelled: 0, ready: 0, scheduled: 0, running: 0 },
      });
    }
    await checkViews(runtime);
  } finally {
    await runtime.stop({ graceMs: 0 });
  }
  await checkFiles();
}

/** Of all the files of large payloads and results those are left that hold a result. */
async function checkFiles(): Promise<void> {
  const tables = await lmdbTables(join(store, 'data.mdb'), 1_000_000);
  const { blobs } = checkStore(tables);
  await tables.close();
  expect(Object.keys(blobs).length).toBeGreaterThan(0);
  expect(readdirSync(join(store, 'blobs')).sort()).toEqual(Object.keys(blobs).sort());
}

/** Nobody was charged for the death of the process, and a parent and its child came in one commit. */
async function checkViews(runtime: Runtime): Promise<void> {
  let after: string | undefined;
  let [parents, children, endless] = [0, 0, 0];
  do {
    const page = await runtime.list({}, after === undefined ? { limit: 1_000 } : { limit: 1_000, after });
    for (const { name, state, crashes, failures } of page.tasks) {
      expect({ name, state, crashes, failures }).toEqual({
        name,
        state: 'completed',
        crashes: 0,
        failures: name === 'fails' ? 1 : 0,
      });
      if (name === 'parent') parents++;
      if (name === 'child') children++;
      if (name === 'endless') endless++;
    }
    after = page.after;
  } while (after !== undefined);
  expect(endless).toBe(1);
  expect(children).toBe(parents);
  expect(parents).toBeGreaterThan(0);
}

/** A random moment is the point here; nothing is waited for. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
