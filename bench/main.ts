/**
 * `npm run bench`: prints what was measured, on what, and beside whom. Each measurement runs in a process of
 * its own, so that none inherits another's heap or compiled code; systems that are compared alternate inside
 * one process.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type CpuResult, measureCpu } from './cpu.js';
import { describeEnvironment } from './environment.js';
import { type KillResult, measureKill } from './kill.js';
import { type LargeResult, measureLarge } from './large.js';
import { type LatencyResult, measureLatency } from './latency.js';
import { measureNoop, type NoopResult } from './noop.js';
import { show, table } from './statistics.js';
import { THREADS } from './subject.js';

const MEASUREMENTS: Readonly<Record<string, () => Promise<unknown>>> = {
  'noop-memory': () => measureNoop('memory'),
  'noop-lmdb': () => measureNoop('lmdb'),
  'large-1': () => measureLarge(1),
  'large-8': () => measureLarge(8),
  cpu: measureCpu,
  latency: measureLatency,
  kill: measureKill,
};

async function main(): Promise<void> {
  const [only] = process.argv.slice(2);
  console.log(`${describeEnvironment()}\n${THREADS} threads\n`);
  const run = <Result>(name: string): Promise<Result | undefined> =>
    only === undefined || name.startsWith(only) ? inProcess<Result>(name) : Promise.resolve(undefined);
  const noops = [await run<NoopResult>('noop-memory'), await run<NoopResult>('noop-lmdb')];
  printNoop(noops.filter((result) => result !== undefined));
  const large = [await run<LargeResult>('large-1'), await run<LargeResult>('large-8')];
  printLarge(large.filter((result) => result !== undefined));
  const cpu = await run<CpuResult>('cpu');
  if (cpu !== undefined) printCpu(cpu);
  const latency = await run<readonly LatencyResult[]>('latency');
  if (latency !== undefined) printLatency(latency);
  const kill = await run<KillResult>('kill');
  if (kill !== undefined) printKill(kill);
}

/** Runs one measurement in a fresh process of this same file. */
function inProcess<Result>(name: string): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [], {
      env: { ...process.env, MILLRACE_BENCH_CELL: name },
    });
    let result: Result | undefined;
    child.once('message', (message) => {
      result = message as Result;
    });
    child.once('error', reject);
    child.once('exit', (code) => {
      if (code === 0 && result !== undefined) resolve(result);
      else reject(new Error(`${name} ended with code ${code}`));
    });
  });
}

function printNoop(results: readonly NoopResult[]): void {
  if (results.length === 0) return;
  const loads = [
    'all at once',
    '2000 in flight',
    '128 in flight',
    '64 in flight',
    '16 in flight',
    '1 in flight',
  ];
  const rows = results.map(({ backend, ours, ratio }) => [
    `millrace, ${backend}${backend === 'lmdb' ? ', flushed' : ''}`,
    ...loads.map((load) => show(ours[load] ?? Number.NaN)),
    `${ratio.toFixed(1)}×`,
  ]);
  const [first] = results;
  rows.push(['piscina', ...loads.map((load) => show(first!.theirs[load] ?? Number.NaN)), '1×']);
  console.log(
    'No-op tasks per second, a promise each (median of 5 alternating pairs; ratio: best against best)',
  );
  console.log(`${table(['', ...loads, 'ratio'], rows)}\n`);
}

function printLarge(results: readonly LargeResult[]): void {
  if (results.length === 0) return;
  const [first] = results;
  const rows = results.map(({ megabytes, rates }) => {
    const { piscina, ...ours } = rates;
    const cells = Object.values(ours).map((rate) => `${show(rate)} (${(rate / piscina).toFixed(2)}×)`);
    return [`${megabytes} MB payload`, show(piscina), ...cells];
  });
  console.log('Tasks per second with a large payload (median of 5 alternating rounds; ratio to piscina)');
  console.log(`${table(['', ...Object.keys(first!.rates)], rows)}\n`);
}

function printCpu({ taskMs, bare, shares }: CpuResult): void {
  console.log(`Fixed CPU work of ${taskMs.toFixed(2)} ms (${THREADS} bare threads: ${show(bare)} tasks/s)`);
  const rows = Object.entries(shares).map(([name, share]) => [name, `${(share * 100).toFixed(0)} %`]);
  console.log(`${table(['', 'of bare threads'], rows)}\n`);
}

function printLatency(results: readonly LatencyResult[]): void {
  console.log('Idle round trip, one task at a time (ms)');
  console.log(
    `${table(
      ['', 'p50', 'p99'],
      results.map(({ name, p50, p99 }) => [name, show(p50), show(p99)]),
    )}\n`,
  );
}

function printKill({ killed, replaced }: KillResult): void {
  console.log('A runaway `for(;;)`, after its deadline (ms)');
  const rows = [
    ['settled as timed out', show(killed.p50), show(killed.p99)],
    ['next task on the slot done', show(replaced.p50), show(replaced.p99)],
  ];
  console.log(`${table(['', 'p50', 'p99'], rows)}\n`);
}

const cell = process.env.MILLRACE_BENCH_CELL;
if (cell === undefined) await main();
else {
  process.send!(await MEASUREMENTS[cell]!());
  process.disconnect();
}
