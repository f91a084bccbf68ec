/**
 * A process that takes flows through their lives is killed at point 1, 2, 3, … of its commits, until a run
 * ends untouched; the quick run takes every eleventh, so beginnings and ends in turn. After each, all rows
 * agree, what was acknowledged is there, and the flows go on to their ends.
 */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { Backend, Claim } from '#src/broker/broker.js';
import { openEmbedded } from '#src/broker/embedded/broker.js';
import type { EmbeddedFlows } from '#src/broker/embedded/flows/flows.js';
import { passOverUnaccepted } from '#src/broker/embedded/numbering.js';
import type { FlowView } from '#src/broker/flows.js';
import { lmdbTables } from '#src/broker/lmdb/lmdb-tables.js';
import { completed } from '../broker/settlements.js';
import { checkStore } from '../broker/store-check.js';

const AT_ONCE = 2;
const STEP = process.env.KILLS === undefined ? 11 : 1;
/** More points than a run has. */
const MOST_POINTS = 500;
const root = mkdtempSync(join(tmpdir(), 'millrace-flow-kill-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Known {
  readonly flows: Map<string, number>;
  readonly tasks: Map<string, string>;
  readonly redriven: Set<string>;
  readonly cancelled: Set<string>;
  readonly deleted: Set<string>;
}

/** @returns whether it was killed. */
async function killAt(point: number, folder: string): Promise<boolean> {
  mkdirSync(folder);
  const fixture = join(process.cwd(), 'dist/test/fixtures/flow-victim.js');
  const child = fork(fixture, [folder, join(folder, 'log'), String(point)]);
  const [code, signal] = await once(child, 'exit');
  if (signal === 'SIGKILL') return true;
  assert.deepEqual([code, signal], [0, null]);
  return false;
}

function readLog(path: string): Known {
  const known: Known = {
    ...{ flows: new Map(), tasks: new Map() },
    ...{ redriven: new Set(), cancelled: new Set(), deleted: new Set() },
  };
  const text = existsSync(path) ? readFileSync(path, 'latin1') : '';
  for (const line of text.slice(0, text.lastIndexOf('\n') + 1).split('\n')) {
    const [event, id = '', more = ''] = line.split(' ');
    if (event === 'flow') known.flows.set(id, Number(more));
    else if (event === 'task') known.tasks.set(id, more);
    else if (event === 'redriven' || event === 'cancelled' || event === 'deleted') known[event].add(id);
  }
  return known;
}

async function rest(flows: EmbeddedFlows): Promise<void> {
  for (;;) {
    const idle = flows.idle();
    if (idle === undefined) return;
    await idle;
  }
}

async function check(folder: string): Promise<number> {
  const known = readLog(join(folder, 'log'));
  const tables = await lmdbTables(join(folder, 'data.mdb'), 2);
  checkStore(tables);
  await passOverUnaccepted(tables);
  const backend = openEmbedded({
    ...{ kind: 'lmdb', lacks: {}, tables, where: 'here', storeNumber: 1, now: () => 1_000_000, flowChunk: 3 },
    limits: { maxPendingEnqueues: 1_000, maxPendingBytes: 1_000_000 },
    onCorrupt: (error) => assert.fail(error),
  });
  const flows = backend.flows as EmbeddedFlows;
  await rest(flows);
  await backend.broker.settle([]);
  checkStore(tables);
  for (const [id, total] of known.flows) {
    const view = await flows.get(id);
    if (view === undefined) assert.ok(id === [...known.flows.keys()][0], 'what is accepted stays');
    else assert.ok(view.total === total || view.total === total + 2, 'no member is lost');
  }
  for (const id of known.deleted) assert.equal(await flows.get(id), undefined);
  for (const [id, state] of known.tasks) await checkTask(backend, known, id, state);
  const ended = await goOn(backend, flows, known);
  checkStore(tables);
  await backend.close();
  return ended.length;
}

/** What was settled stays so, but for a redrive of what died, and for what was deleted. */
async function checkTask({ inspect }: Backend, known: Known, id: string, state: string): Promise<void> {
  const view = await inspect!.get(id);
  if (view === undefined) assert.equal(known.redriven.size, 1, 'only what was deleted is gone');
  else if (state === 'completed') assert.equal(view.state, state);
}

/** Everything completes now, each member once, and so do the flows that nobody cancelled. */
async function goOn(backend: Backend, flows: EmbeddedFlows, known: Known): Promise<readonly FlowView[]> {
  const { flows: all } = await flows.list(10);
  for (const { id, dead, isCancelling } of all) if (dead > 0 && !isCancelling) await flows.redrive(id);
  const seen = new Set<string>();
  for (;;) {
    await rest(flows);
    const claims = backend.broker.claim(() => 'take', 100) as readonly Claim[];
    if (claims.length === 0) break;
    for (const { id } of claims) {
      assert.ok(!seen.has(id) && known.tasks.get(id) !== 'completed', 'a task completes once');
      seen.add(id);
    }
    await backend.broker.settle(claims.map(completed));
  }
  const ended = (await flows.list(10)).flows;
  for (const flow of ended) {
    if (flow.cancelled > 0) assert.equal(flow.state, 'cancelled');
    else assert.deepEqual([flow.state, flow.completed], ['completed', flow.total]);
    if (known.cancelled.has(flow.id)) assert.equal(flow.cancelled, flow.total);
  }
  return ended;
}

it('never leaves a flow half-advanced, wherever its process dies', { timeout: 120_000 }, async () => {
  let next = 1;
  let points = 0;
  let kills = 0;
  let ends = 0;
  for (let isKilled = true; isKilled; ) {
    const some = Array.from({ length: AT_ONCE }, (_, at) => next + at * STEP);
    next += AT_ONCE * STEP;
    const killed = await Promise.all(some.map((point) => killAt(point, join(root, String(point)))));
    for (const [at, point] of some.entries()) {
      ends += await check(join(root, String(point)));
      if (!killed[at]!) continue;
      points = point;
      kills++;
    }
    isKilled = !killed.includes(false);
    assert.ok(points < MOST_POINTS);
  }
  console.info(`flows: killed ${kills} times up to point ${points}, ${ends} flows went on to their ends`);
  expect(points).toBeGreaterThan(40);
});
