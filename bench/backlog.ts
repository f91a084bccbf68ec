/**
 * `node dist/bench/backlog.js [tasks]`: enqueues ten million tasks on LMDB with nothing running, measures how
 * memory grows with what waits, reopens, and drains them all. Memory is heapUsed + external + arrayBuffers
 * after a full collection; mapped file pages are the kernel's and say nothing.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { openRuntime } from 'millrace';
import { describeEnvironment } from './environment.js';
import { perSecond, show, table } from './statistics.js';
import type * as tasks from './tasks.js';

const TASKS = Number(process.argv[2] ?? 10_000_000);
const BATCH = 5_000;
const BATCHES_IN_FLIGHT = 4;
const STEPS = 10;
const LIMIT_MB_PER_MILLION = 10;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

async function main(): Promise<void> {
  console.log(`${describeEnvironment()}\n`);
  const folder = mkdtempSync(join(tmpdir(), 'millrace-backlog-'));
  const options = { backend: folder, tasks: new URL('./tasks.js', import.meta.url), threads: 2 };
  const rows: string[][] = [];
  try {
    const idle = await openRuntime<typeof tasks>({ ...options, autostart: false });
    const before = memoryMb();
    const start = performance.now();
    for (let step = 1; step <= STEPS; step++) {
      await enqueue(idle, TASKS / STEPS);
      const waiting = (TASKS / STEPS) * step;
      const grown = memoryMb() - before;
      rows.push([show(waiting), show(grown), show(grown / (waiting / 1e6)), show(folderMb(folder))]);
    }
    const enqueued = perSecond(TASKS, performance.now() - start);
    await idle.stop();
    console.log(table(['waiting', 'memory grown MB', 'MB per million', 'store MB'], rows));
    const drained = await drain(options);
    console.log(`\nenqueued ${show(enqueued)} tasks/s, reopened and drained ${show(drained)} tasks/s`);
    const perMillion = Number(rows.at(-1)![2]);
    console.log(`${show(perMillion)} MB per million waiting (bound: ${LIMIT_MB_PER_MILLION})`);
    if (perMillion >= LIMIT_MB_PER_MILLION) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

type BenchRuntime = Awaited<ReturnType<typeof openRuntime<typeof tasks>>>;

async function enqueue(runtime: BenchRuntime, count: number): Promise<void> {
  let left = Math.ceil(count / BATCH);
  const producer = async (): Promise<void> => {
    while (left-- > 0) {
      const batch = Array.from(
        { length: BATCH },
        (_, i) => ({ name: 'noop', payload: { i, s: 'hello' } }) as never,
      );
      await runtime.enqueueBatch(batch);
    }
  };
  await Promise.all(Array.from({ length: BATCHES_IN_FLIGHT }, producer));
}

/** Runs everything that waits, and checks that nothing is missing. @returns tasks per second. */
async function drain(options: Parameters<typeof openRuntime>[0]): Promise<number> {
  const runtime = await openRuntime<typeof tasks>(options);
  const start = performance.now();
  await runtime.whenIdle();
  const rate = perSecond(TASKS, performance.now() - start);
  const completed = (await runtime.counts()).get('default')?.completed;
  await runtime.stop();
  if (completed !== TASKS) throw new Error(`${completed} of ${TASKS} tasks completed`);
  return rate;
}

function memoryMb(): number {
  collect();
  collect();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return (heapUsed + external + arrayBuffers) / 1e6;
}

function folderMb(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0) / 1e6;
}

await main();
