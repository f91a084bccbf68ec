/** Writes the results to stdout, and forms numbers for people. */
import type { Totals } from './totals.js';

/** Dead letters that are listed; of more only the number is said. */
const LISTED = 10;

export interface Circumstances {
  /** What there was when this run began. */
  readonly before: Totals;
  /** Of this run. */
  readonly elapsedMs: number;
  /** Files of the folder that are not settled. */
  readonly missing: number;
}

/** Amounts are of all runs, rates of this one. */
export function printTable(totals: Totals, { before, elapsedMs, missing }: Circumstances): void {
  const seconds = elapsedMs / 1_000;
  const files = totals.paths.size - before.paths.size;
  const isOnce = missing === 0 && totals.repeated === 0;
  const rows = [
    ['files', count(totals.files)],
    ['bytes', megabytes(totals.bytes)],
    ['compressed', megabytes(totals.compressedBytes)],
    ['ratio', (totals.bytes / Math.max(1, totals.compressedBytes)).toFixed(2)],
    ['this run', `${count(files)} of ${count(totals.paths.size)} tasks, ${seconds.toFixed(1)} s`],
    ['tasks/s', count(files / seconds)],
    ['MB/s', ((totals.bytes - before.bytes) / 1e6 / seconds).toFixed(1)],
    ...[...totals.threads]
      .sort(([one], [other]) => one - other)
      .map(([thread, bytes]) => [
        `thread ${thread}`,
        `${((100 * bytes) / Math.max(1, totals.bytes)).toFixed(1)} % of the bytes`,
      ]),
    ['run time p50', quantile(totals.runMs, 0.5)],
    ['run time p99', quantile(totals.runMs, 0.99)],
    ...totals.attempts.map((number, at) => [`attempts ${['1', '2', '3+'][at]}`, count(number)]),
    ['dead letters', count(totals.dead.length)],
    ['each file exactly once', isOnce ? 'yes' : `no: ${missing} missing, ${totals.repeated} repeated`],
  ] as const;
  for (const [label, value] of rows) console.log(`${label}:`.padEnd(25) + value);
  if (totals.dead.length === 0) return;
  console.log('\nThese could not be read, and are kept as dead letters:');
  for (const line of totals.dead.slice(0, LISTED)) console.log(`  ${line}`);
  if (totals.dead.length > LISTED) console.log(`  and ${count(totals.dead.length - LISTED)} more`);
}

export function count(number: number): string {
  return Math.round(number).toLocaleString('en');
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** @param sorted  Ascending milliseconds. */
function quantile(sorted: readonly number[], share: number): string {
  return `${(sorted[Math.floor((sorted.length - 1) * share)] ?? 0).toFixed(2)} ms`;
}
