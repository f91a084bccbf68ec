/** One task at a time on an idle runtime: from the call to the result. */
import { Bench } from 'tinybench';
import { openMillrace, openPiscina } from './subject.js';

const TIME_MS = 1_500;

export interface LatencyResult {
  readonly name: string;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

export async function measureLatency(): Promise<readonly LatencyResult[]> {
  const subjects = [openPiscina(), await openMillrace('memory'), await openMillrace('lmdb')];
  const bench = new Bench({ time: TIME_MS, warmupTime: 500, throws: true });
  for (const subject of subjects)
    bench.add(subject.name, () => subject.run('noop', { i: 1, s: 'hello' }).then(() => {}));
  await bench.run();
  for (const subject of subjects) await subject.close();
  return bench.tasks.map(({ name, result }) => {
    if (result.state !== 'completed') throw new Error(`${name}: ${result.state}`);
    return { name, p50: result.latency.p50, p99: result.latency.p99 };
  });
}
