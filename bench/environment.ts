/** What the figures were measured on: without it they mean nothing. */
import { execFileSync } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { percentile, show } from './statistics.js';

const SYNCS = 200;

/** One line per fact. */
export function describeEnvironment(): string {
  const syncs = measureSyncs();
  return [
    `commit ${commit()}, ${new Date().toISOString().slice(0, 10)}`,
    `Node ${process.versions.node}, piscina ${versionOf('piscina')}, lmdb ${versionOf('lmdb')}`,
    `${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown CPU'}, Linux ${release()}`,
    'write + fdatasync of 4 KiB here: ' +
      `p50 ${show(percentile(syncs, 50))} ms, p99 ${show(percentile(syncs, 99))} ms`,
  ].join('\n');
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {
      encoding: 'utf8',
      stdio: 'pipe',
    }).trim();
  } catch {
    return 'unknown';
  }
}

/** From the package's own file, which its exports may hide. */
function versionOf(name: string): string {
  const main = createRequire(import.meta.url).resolve(name);
  const folder = main.slice(0, main.lastIndexOf(join('node_modules', name)));
  const file = readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}

/** How long this disk takes to make 4 KiB durable, ms: the floor under every acknowledgement. */
function measureSyncs(): number[] {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const file = openSync(join(folder, 'sync'), 'w');
  const block = Buffer.alloc(4096, 1);
  const times: number[] = [];
  for (let at = 0; at < SYNCS; at++) {
    const start = performance.now();
    writeSync(file, block, 0, block.length, at * block.length);
    fdatasyncSync(file);
    times.push(performance.now() - start);
  }
  closeSync(file);
  rmSync(folder, { recursive: true });
  return times;
}
