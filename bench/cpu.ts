/**
 * A fixed amount of CPU work, about 1 ms each, against the same work in bare threads that are told nothing.
 */
import { Worker } from 'node:worker_threads';
import { calibrate } from './calibrate.js';
import { allAtOnce } from './load.js';
import { median, perSecond } from './statistics.js';
import { openMillrace, openPiscina, type Subject, THREADS } from './subject.js';

const ROUNDS = 3;
const TASKS = 2_000;
const WARM_UP_TASKS = 200;

export interface CpuResult {
  /** Measured time of one task on one thread, ms. */
  readonly taskMs: number;
  readonly bare: number;
  /** Share of the bare threads' rate, by system. */
  readonly shares: Readonly<Record<string, number>>;
}

export async function measureCpu(): Promise<CpuResult> {
  const rounds = Math.round(calibrate());
  const subjects = [openPiscina(), await openMillrace('memory'), await openMillrace('lmdb')];
  for (const subject of subjects) await allAtOnce.measure(subject, WARM_UP_TASKS, 'work', rounds);
  const bareRates: number[] = [];
  const shares = new Map<string, number[]>(subjects.map((subject) => [subject.name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    const bare = await measureBare(rounds);
    bareRates.push(bare);
    for (const subject of subjects) shares.get(subject.name)!.push((await rate(subject, rounds)) / bare);
  }
  for (const subject of subjects) await subject.close();
  const bare = median(bareRates);
  return {
    taskMs: (THREADS * 1_000) / bare,
    bare,
    shares: Object.fromEntries([...shares].map(([name, values]) => [name, median(values)])),
  };
}

function rate(subject: Subject, rounds: number): Promise<number> {
  return allAtOnce.measure(subject, TASKS, 'work', rounds);
}

async function measureBare(rounds: number): Promise<number> {
  const workers = Array.from(
    { length: THREADS },
    () => new Worker(new URL('./bare-worker.js', import.meta.url)),
  );
  const once = (worker: Worker, count: number): Promise<unknown> =>
    new Promise((resolve) => {
      worker.once('message', resolve);
      worker.postMessage({ count, rounds });
    });
  await Promise.all(workers.map((worker) => once(worker, WARM_UP_TASKS / THREADS)));
  const start = performance.now();
  await Promise.all(workers.map((worker) => once(worker, TASKS / THREADS)));
  const tasksPerSecond = perSecond(TASKS, performance.now() - start);
  await Promise.all(workers.map((worker) => worker.terminate()));
  return tasksPerSecond;
}
