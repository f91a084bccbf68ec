/** Writes the table of results to stdout, and forms numbers for people. */
import type { Totals } from './totals.js';

export interface Report {
  readonly totals: Totals;
  /** When this run began. */
  readonly before: Totals;
  readonly elapsedMs: number;
  /** Files in the folder that were not settled. */
  readonly missing: number;
}

export function printReport({ totals, before, elapsedMs, missing }: Report): void {
  const seconds = elapsedMs / 1_000;
  const files = totals.files - before.files;
  const isOnce = missing === 0 && totals.repeated === 0;
  const rows: [string, string][] = [
    ['files', formatCount(totals.files)],
    ['bytes', formatBytes(totals.bytes)],
    ['compressed', formatBytes(totals.compressedBytes)],
    ['ratio', totals.bytes === 0 ? '-' : (totals.bytes / totals.compressedBytes).toFixed(2)],
    ['this run', `${formatCount(files)} files in ${seconds.toFixed(1)} s`],
    ['tasks/s', formatCount(files / seconds)],
    ['MB/s', ((totals.bytes - before.bytes) / 1e6 / seconds).toFixed(1)],
    ...[...totals.threads]
      .sort(([one], [other]) => one - other)
      .map(([thread, share]): [string, string] => [
        `thread ${thread}`,
        `${percent(share.bytes, totals.bytes)} of bytes, ${percent(share.files, totals.files)} of files`,
      ]),
    ['run time p50', formatMs(quantile(totals.runMs, 0.5))],
    ['run time p99', formatMs(quantile(totals.runMs, 0.99))],
    ...totals.attempts.map((count, at): [string, string] => [
      `attempts ${at === 2 ? '3+' : at + 1}`,
      formatCount(count),
    ]),
    ['dead letters', formatCount(totals.dead)],
    [
      'each file exactly once',
      isOnce ? 'yes' : `no: ${formatCount(missing)} missing, ${formatCount(totals.repeated)} repeated`,
    ],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  for (const [label, value] of rows) console.log(`${`${label}:`.padEnd(width + 2)}${value}`);
  if (totals.dead === 0) return;
  console.log(`\n${formatCount(totals.dead)} could not be read and are kept as dead letters:`);
  for (const reason of totals.reasons) console.log(`  ${reason}`);
  if (totals.dead > totals.reasons.length) console.log('  ...');
}

export function formatCount(count: number): string {
  return Number.isFinite(count) ? Math.round(count).toLocaleString('en') : '-';
}

export function formatBytes(bytes: number): string {
  return Number.isFinite(bytes) ? `${(bytes / 1e6).toFixed(1)} MB` : '-';
}

function formatMs(ms: number | undefined): string {
  return ms === undefined ? '-' : `${ms.toFixed(2)} ms`;
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`;
}

/** @param values  Ascending. */
function quantile(values: readonly number[], share: number): number | undefined {
  return values[Math.min(values.length - 1, Math.floor(values.length * share))];
}
