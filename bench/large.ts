/**
 * Payloads of a megabyte and more, beside structured clone through piscina in the same process: on the way
 * from the call to the result, and from the store alone, where each payload is in its file already. The disk
 * bounds the first of these on LMDB: every byte is flushed before its task is accepted.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRuntime, type Runtime } from 'millrace';
import { inFlight } from './load.js';
import { median, perSecond } from './statistics.js';
import { openMillrace, openPiscina, THREADS } from './subject.js';
import type * as tasks from './tasks.js';

const ROUNDS = 5;
const MEGABYTE = 1_048_576;
/** Of one measurement, together. */
const MEGABYTES = 160;
const CLIENTS = 2 * THREADS;

export interface LargeResult {
  readonly megabytes: number;
  /** Tasks per second, by what was measured; piscina first. */
  readonly rates: { readonly piscina: number; readonly [what: string]: number };
}

export async function measureLarge(megabytes: number): Promise<LargeResult> {
  const payload = new Uint8Array(megabytes * MEGABYTE).fill(1);
  const count = Math.ceil(MEGABYTES / megabytes);
  const piscina = openPiscina();
  const memory = await openMillrace('memory');
  const lmdb = await openMillrace('lmdb');
  const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const url = new URL('./tasks.js', import.meta.url);
  const holder = await openRuntime<typeof tasks>({ backend: folder, tasks: url, threads: THREADS });
  const measurements = {
    piscina: () => inFlight(CLIENTS).measure(piscina, count, 'touch', payload),
    'millrace, memory': () => inFlight(CLIENTS).measure(memory, count, 'touch', payload),
    'millrace, lmdb, flushed': () => inFlight(CLIENTS).measure(lmdb, count, 'touch', payload),
    'millrace, lmdb, from the store': () => drain(holder, payload, count),
  };
  const rates: Record<string, number[]> = {};
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [what, measure] of Object.entries(measurements)) {
      const rate = await measure();
      // The first one warms up.
      if (round > 0) rates[what] = [...(rates[what] ?? []), rate];
    }
  }
  for (const subject of [piscina, memory, lmdb]) await subject.close();
  await holder.stop();
  rmSync(folder, { recursive: true });
  const medians = Object.entries(rates).map(([what, each]) => [what, median(each)] as const);
  return { megabytes, rates: Object.fromEntries(medians) as LargeResult['rates'] };
}

/** Tasks per second, from when those that wait in the store may start to the end of the last one. */
async function drain(runtime: Runtime<typeof tasks>, payload: Uint8Array, count: number): Promise<number> {
  await runtime.pause('default');
  for (let at = 0; at < count; at++) await runtime.enqueue('touch', payload);
  const before = await completedOf(runtime);
  const start = performance.now();
  await runtime.resume('default');
  await runtime.whenIdle();
  const ms = performance.now() - start;
  const completed = (await completedOf(runtime)) - before;
  if (completed !== count) throw new Error(`${completed} results for ${count} tasks`);
  return perSecond(count, ms);
}

async function completedOf(runtime: Runtime<typeof tasks>): Promise<number> {
  return (await runtime.counts()).get('default')?.completed ?? 0;
}
