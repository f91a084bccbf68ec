/**
 * No-op tasks with a promise each, beside piscina in the same process: five alternating pairs per backend.
 */
import { allAtOnce, inFlight, type Load } from './load.js';
import { median } from './statistics.js';
import { openMillrace, openPiscina, type Subject } from './subject.js';

const PAIRS = 5;
const OURS = 100_000;
const THEIRS = 20_000;
const WARM_UP = 0.2;
const PAYLOAD = { i: 1, s: 'hello' };

export interface NoopResult {
  readonly backend: string;
  /** Tasks per second by load, median of the pairs. */
  readonly ours: Readonly<Record<string, number>>;
  readonly theirs: Readonly<Record<string, number>>;
  /** Median over pairs of our best load against piscina's best load. */
  readonly ratio: number;
}

export async function measureNoop(backend: 'memory' | 'lmdb'): Promise<NoopResult> {
  const piscina = openPiscina();
  const millrace = await openMillrace(backend);
  const ourLoads = [allAtOnce, inFlight(2_000), inFlight(128), inFlight(16), inFlight(1)];
  const theirLoads = [allAtOnce, inFlight(64), inFlight(16), inFlight(1)];
  await round(piscina, theirLoads, THEIRS * WARM_UP);
  await round(millrace, ourLoads, OURS * WARM_UP);
  const ours: Record<string, number>[] = [];
  const theirs: Record<string, number>[] = [];
  for (let pair = 0; pair < PAIRS; pair++) {
    theirs.push(await round(piscina, theirLoads, THEIRS));
    ours.push(await round(millrace, ourLoads, OURS));
  }
  await millrace.close();
  await piscina.close();
  const best = (rates: Record<string, number>, names: readonly string[]): number =>
    Math.max(...names.map((name) => rates[name]!));
  const ratios = ours.map(
    (rates, pair) =>
      best(rates, ['all at once', '2000 in flight']) / best(theirs[pair]!, ['all at once', '64 in flight']),
  );
  return { backend, ours: medians(ours), theirs: medians(theirs), ratio: median(ratios) };
}

async function round(
  subject: Subject,
  loads: readonly Load[],
  count: number,
): Promise<Record<string, number>> {
  const rates: Record<string, number> = {};
  for (const load of loads) {
    const few = /^\d+/.exec(load.name)?.[0];
    const share = few !== undefined && Number(few) <= 16 ? 0.03 * Number(few) ** 0.5 : 1;
    rates[load.name] = await load.measure(subject, Math.ceil(count * share), 'noop', PAYLOAD);
  }
  return rates;
}

function medians(rounds: readonly Record<string, number>[]): Record<string, number> {
  const names = Object.keys(rounds[0] ?? {});
  return Object.fromEntries(names.map((name) => [name, median(rounds.map((rates) => rates[name]!))]));
}
