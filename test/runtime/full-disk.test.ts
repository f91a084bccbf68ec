/**
 * What happens when there is no room: refused in time where a bound is set, fenced where the disk itself says
 * so, and in no case does the host die or an accepted task get lost. The disk is a small tmpfs, which only
 * root may mount.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreFullError } from '#src/errors.js';
import { openRuntime } from '#src/index.js';
import { silentLogger } from '#src/logger.js';

const TASKS = new URL('../../dist/test/fixtures/basic-tasks.js', import.meta.url);
const FIXTURE = fileURLToPath(new URL('../fixtures/full-disk.mjs', import.meta.url));
const canMount = process.platform === 'linux' && mounts();

/** Being root is not enough in every container. */
function mounts(): boolean {
  const probe = mkdtempSync(join(tmpdir(), 'millrace-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe], { stdio: 'ignore' });
    execFileSync('umount', [probe], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-full-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Report {
  readonly accepted: readonly string[];
  readonly code: string;
  readonly again: string;
}

/** Fills a disk of 6 MB in a process of its own; a host that died would have no report. */
async function fill(backend: string, minFreeBytes: number): Promise<Report> {
  const { stdout } = await promisify(execFile)(process.execPath, [FIXTURE, backend, String(minFreeBytes)]);
  return JSON.parse(stdout) as Report;
}

async function completeAll(backend: string, ids: readonly string[]): Promise<void> {
  const runtime = await openRuntime({ backend, tasks: TASKS, threads: 1, minFreeBytes: 0 });
  try {
    await Promise.all(ids.map((id) => runtime.handle(id).result()));
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 0, dead: 0 });
  } finally {
    await runtime.stop();
  }
}

it('refuses tasks beyond maxBytes, and takes them again when the store has emptied', async () => {
  const options = { backend: folder, tasks: TASKS, threads: 1, maxBytes: 2_000_000, minFreeBytes: 0 };
  const full = await openRuntime({ ...options, autostart: false });
  let refused: unknown;
  while (refused === undefined) {
    const batch = Array.from({ length: 50 }, () => ({ name: 'noop', payload: 'x'.repeat(5_000) }));
    await full.enqueueBatch(batch).catch((error) => {
      refused = error;
    });
  }
  expect(refused).toBeInstanceOf(StoreFullError);
  expect(refused).toMatchObject({ code: 'ERR_MILLRACE_STORE_FULL', limit: 'maxBytes', bound: 1_800_000 });
  expect((refused as StoreFullError).bytes).toBeGreaterThan(1_800_000);
  full.start();
  await full.whenIdle();
  await full.stop();
  const empty = await openRuntime(options);
  expect(await empty.run('sum', [1, 2])).toBe(3);
  await empty.stop();
});

describe.skipIf(!canMount)('on a disk of 6 MB (needs root to mount one)', () => {
  let disk: string;
  beforeEach(() => {
    disk = folder;
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', disk]);
  });
  afterEach(() => execFileSync('umount', [disk]));

  it('refuses tasks before minFreeBytes is used up, and what was accepted completes', async () => {
    const { accepted, code } = await fill(disk, 2_000_000);
    expect(code).toBe('ERR_MILLRACE_STORE_FULL');
    expect(accepted.length).toBeGreaterThan(100);
    await completeAll(disk, accepted);
  });

  it('refuses a large payload that finds no room, and goes on with all others', async () => {
    const runtime = await openRuntime({
      ...{ backend: disk, tasks: TASKS, threads: 1, minFreeBytes: 0, autostart: false },
      logger: silentLogger,
    });
    const accepted: string[] = [];
    let refused: unknown;
    while (refused === undefined) {
      const enqueued = runtime.enqueue('noop', new Uint8Array(900_000));
      await enqueued.then(
        ({ id }) => accepted.push(id),
        (error) => {
          refused = error;
        },
      );
    }
    expect(refused).toMatchObject({ code: 'ERR_MILLRACE_STORE_FULL', limit: 'minFreeBytes' });
    expect(accepted.length).toBeGreaterThan(2);
    // What it had written by then is given back.
    accepted.push((await runtime.enqueue('noop', 'x'.repeat(1_000))).id);
    await runtime.stop();
    await completeAll(disk, accepted);
  });

  it('fences the store when the disk is full, with the host alive and nothing accepted lost', async () => {
    const { accepted, code, again } = await fill(disk, 0);
    expect({ code, again }).toEqual({
      code: 'ERR_MILLRACE_STORE_FENCED',
      again: 'ERR_MILLRACE_STORE_FENCED',
    });
    expect(accepted.length).toBeGreaterThan(100);
    execFileSync('mount', ['-o', 'remount,size=64m', disk]);
    await completeAll(disk, accepted);
  });
});
