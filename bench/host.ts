/**
 * `node dist/bench/host.js [pairs] [ms]`: how late the host's event loop is while a full queue is worked off,
 * beside a bare piscina that does the same CPU work on as many threads. Each cell is a process of its own,
 * systems alternate. Piscina takes no work without a promise: its promises are held in all rows. What filling
 * the queue costs the host is not measured.
 *
 * A timer of 1 ms comes late for two reasons, which the kernel tells apart: the host's thread was busy (`own
 * work`), or it was ready and had to wait for a core that a worker, or somebody else, was using (`no core`).
 * Bare threads are told once and then work without a break: with them it is nearly all of the second kind.
 */
import { fork } from 'node:child_process';
import { mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { openRuntime } from 'millrace';
import { Piscina } from 'piscina';
import { calibrate } from './calibrate.js';
import { describeEnvironment } from './environment.js';
import { median, percentile, show, table } from './statistics.js';
import { THREADS } from './subject.js';
import type * as tasks from './tasks.js';

const WAITING = 200_000;
const WORKS_MS = [1, 0.1];
const SYSTEMS = [
  'piscina',
  'bare threads',
  'millrace, nothing held',
  'millrace, all results awaited',
] as const;
const WARM_UP_MS = 500;
const MEASURED_MS = Number(process.argv[3] ?? 4_000);
const TICK_MS = 1;
/** Enqueued between two turns of the event loop. */
const PER_TURN = 1_000;
const LIMIT_MS = 5;

const scheduler = openScheduler();
const buffer = Buffer.alloc(256);

type System = (typeof SYSTEMS)[number];

interface Cell {
  readonly system: System;
  readonly rounds: number;
}

interface Delay {
  /** How late the timer came, ms. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** Of the time between two of its ticks, ms: what the thread worked, and what it waited for a core. */
  readonly workP99: number;
  readonly workMax: number;
  readonly noCoreP99: number;
  /** Per second. */
  readonly tasks: number;
}

async function main(): Promise<void> {
  const pairs = Number(process.argv[2] ?? 5);
  console.log(
    `${describeEnvironment()}\n${THREADS} threads, ${show(WAITING)} tasks waiting, ${pairs} pairs\n`,
  );
  for (const workMs of WORKS_MS) {
    const rounds = Math.round(calibrate() * workMs);
    const delays = new Map<System, Delay[]>(SYSTEMS.map((system) => [system, []]));
    for (let pair = 0; pair < pairs; pair++) {
      for (const system of SYSTEMS) delays.get(system)!.push(await inProcess({ system, rounds }));
    }
    print(workMs, delays);
  }
}

function print(workMs: number, delays: ReadonlyMap<System, readonly Delay[]>): void {
  const theirs = delays.get('piscina')!;
  console.log(`Delay of the host's event loop, tasks of ${workMs} ms (ms, medians; p99 from best to worst)`);
  const rows = [...delays].map(([system, each]) => {
    const p99s = each.map(({ p99 }) => p99);
    const more = median(each.map(({ p99 }, pair) => p99 - theirs[pair]!.p99));
    return [
      system,
      show(median(each.map(({ p50 }) => p50))),
      show(median(p99s)),
      `${show(Math.min(...p99s))} – ${show(Math.max(...p99s))}`,
      system === 'piscina' ? '' : show(more),
      show(median(each.map(({ max }) => max))),
      show(median(each.map(({ workP99 }) => workP99))),
      show(median(each.map(({ workMax }) => workMax))),
      show(median(each.map(({ noCoreP99 }) => noCoreP99))),
      show(median(each.map(({ tasks }) => tasks))),
    ];
  });
  const head = [
    '',
    'p50',
    'p99',
    'p99 spread',
    `more than piscina (bound ${LIMIT_MS})`,
    'max',
    'own work p99',
    'max',
    'no core p99',
    'tasks/s',
  ];
  console.log(`${table(head, rows)}\n`);
}

function inProcess(cell: Cell): Promise<Delay> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, MILLRACE_BENCH_CELL: JSON.stringify(cell) };
    const child = fork(fileURLToPath(import.meta.url), process.argv.slice(2), { env });
    let delay: Delay | undefined;
    child.once('message', (message) => {
      delay = message as Delay;
    });
    child.once('error', reject);
    child.once('exit', (code) => {
      if (delay !== undefined) resolve(delay);
      else reject(new Error(`${cell.system} ended with code ${code}`));
    });
  });
}

function measure({ system, rounds }: Cell): Promise<Delay> {
  if (system === 'piscina') return measurePiscina(rounds);
  if (system === 'bare threads') return measureBare(rounds);
  return measureMillrace(rounds, system.endsWith('awaited'));
}

async function measurePiscina(rounds: number): Promise<Delay> {
  const filename = new URL('./piscina-worker.js', import.meta.url).href;
  const pool = new Piscina({ filename, minThreads: THREADS, maxThreads: THREADS });
  let done = 0;
  const count = (): void => {
    done++;
  };
  for (let at = 0; at < WAITING; at++) {
    if (at % PER_TURN === 0) await new Promise(setImmediate);
    pool.run(rounds, { name: 'work' }).then(count, () => {});
  }
  const delay = await watch(() => done);
  await pool.destroy();
  return delay;
}

async function measureBare(rounds: number): Promise<Delay> {
  const workers = Array.from({ length: THREADS }, () => {
    const worker = new Worker(new URL('./bare-worker.js', import.meta.url));
    worker.postMessage({ count: WAITING, rounds });
    return worker;
  });
  // They say nothing before they are done.
  const delay = await watch(() => performance.now());
  await Promise.all(workers.map((worker) => worker.terminate()));
  return { ...delay, tasks: Number.NaN };
}

async function measureMillrace(rounds: number, isHeld: boolean): Promise<Delay> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const runtime = await openRuntime<typeof tasks>({
    ...{ backend: folder, tasks: new URL('./tasks.js', import.meta.url), threads: THREADS, autostart: false },
    // As many as wait are on their way when all results are awaited.
    maxPendingEnqueues: WAITING,
  });
  const batch = Array.from({ length: PER_TURN }, () => ({ name: 'work' as const, payload: rounds }));
  for (let at = 0; at < WAITING; at += PER_TURN) {
    const handles = await runtime.enqueueBatch(batch);
    if (isHeld) for (const handle of handles) handle.result().catch(() => {});
  }
  const completed = async (): Promise<number> => (await runtime.counts()).get('default')?.completed ?? 0;
  runtime.start();
  const delay = await watch(completed);
  await runtime.stop({ graceMs: 0 });
  rmSync(folder, { recursive: true });
  return delay;
}

/** The host does nothing else meanwhile. */
async function watch(done: () => number | Promise<number>): Promise<Delay> {
  await sleep(WARM_UP_MS);
  const before = await done();
  const start = performance.now();
  const ticks: Tick[] = [];
  for (let last = look(); last.at < start + MEASURED_MS; ) {
    await sleep(TICK_MS);
    const now = look();
    ticks.push({
      at: now.at - last.at - TICK_MS,
      work: now.work - last.work,
      noCore: now.noCore - last.noCore,
    });
    last = look();
  }
  const tasks = ((await done()) - before) / ((performance.now() - start) / 1_000);
  if (!(tasks > 0)) throw new Error('nothing was done');
  const late = ticks.map(({ at }) => at);
  const works = ticks.map(({ work }) => work);
  return {
    p50: percentile(late, 50),
    p99: percentile(late, 99),
    max: percentile(late, 100),
    workP99: percentile(works, 99),
    workMax: percentile(works, 100),
    noCoreP99: percentile(
      ticks.map(({ noCore }) => noCore),
      99,
    ),
    tasks,
  };
}

/** Milliseconds: when, and what this thread has worked and waited for a core so far. */
interface Tick {
  readonly at: number;
  readonly work: number;
  readonly noCore: number;
}

/** @source  Linux, "Scheduler Statistics", /proc/<pid>/schedstat. Elsewhere the two are not known. */
function look(): Tick {
  const at = performance.now();
  if (scheduler === undefined) return { at, work: Number.NaN, noCore: Number.NaN };
  const bytes = readSync(scheduler, buffer, 0, buffer.length, 0);
  const [work = Number.NaN, noCore = Number.NaN] = buffer.toString('latin1', 0, bytes).split(' ').map(Number);
  return { at, work: work / 1e6, noCore: noCore / 1e6 };
}

function openScheduler(): number | undefined {
  try {
    return openSync(`/proc/self/task/${process.pid}/schedstat`, 'r');
  } catch {
    return undefined;
  }
}

const cell = process.env.MILLRACE_BENCH_CELL;
if (cell === undefined) await main();
else {
  process.send!(await measure(JSON.parse(cell) as Cell));
  process.disconnect();
}
