/**
 * `lmdb:` and plain paths: the durable default. The folder is won before the store is opened; the manifest and the
 * header are checked in plain JavaScript before the addon sees the file; the tasks that a dead owner had handed out
 * are read from `running.bin`.
 *
 *     folder/  manifest.json · data.mdb · data.mdb-lock · running.bin · epoch-N · owner sockets
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { MillraceError, StoreUnavailableError } from '../../errors.js';
import { type Ownership, takeOwnership } from '../../owner/ownership.js';
import type { Backend } from '../broker.js';
import { openEmbedded } from '../embedded/broker.js';
import type { IntakeLimits } from '../embedded/intake.js';
import { type LmdbTables, lmdbTables } from './lmdb-tables.js';
import { markInitialised, openManifest } from './manifest.js';
import { preflight } from './preflight.js';
import { RunningFile, readSuspects } from './running-file.js';

export interface LmdbOptions {
  readonly folder: string;
  readonly ifLocked: 'fail' | 'wait';
  readonly limits: IntakeLimits;
  readonly now: () => number;
  readonly onCorrupt: (error: Error) => void;
  readonly signal?: AbortSignal;
  readonly windowTasks?: number;
}

/**
 * @throws {LockedError} {@link StoreCorruptError} {@link StoreForeignError} {@link StoreTooNewError}
 *   {@link StoreUnavailableError}
 */
export async function openLmdb(options: LmdbOptions): Promise<Backend> {
  const { folder, ifLocked, signal } = options;
  const ownership = await takeOwnership(folder, { ifLocked, ...(signal === undefined ? {} : { signal }) });
  try {
    return await openOwned(options, ownership);
  } catch (error) {
    await ownership.release();
    if (error instanceof MillraceError) throw error;
    throw new StoreUnavailableError(folder, error instanceof Error ? error.message : String(error), { cause: error });
  }
}

async function openOwned(options: LmdbOptions, ownership: Ownership): Promise<Backend> {
  const { folder, limits, now, onCorrupt, windowTasks } = options;
  const manifest = openManifest(folder);
  const data = join(folder, 'data.mdb');
  if (existsSync(data)) preflight(data);
  const runningPath = join(folder, 'running.bin');
  const suspects = readSuspects(runningPath);
  const tables = await lmdbTables(data, ownership.epoch);
  try {
    markInitialised(folder);
    const running = new RunningFile(runningPath, ownership.epoch);
    return openEmbedded({
      kind: 'lmdb',
      lacks: { transfer: 'payloads are written to disk, so a moved buffer is copied into the store' },
      tables,
      where: folder,
      storeNumber: Number.parseInt(manifest.storeId.slice(0, 8), 16),
      limits,
      now,
      onCorrupt,
      suspects,
      ...(windowTasks === undefined ? {} : { windowTasks }),
      hold: (claims) => running.hold(claims),
      onClose: async () => {
        running.close();
        await ownership.release();
      },
    });
  } catch (error) {
    await closeQuietly(tables);
    throw error;
  }
}

async function closeQuietly(tables: LmdbTables): Promise<void> {
  try {
    await tables.close();
  } catch {
    // The error that led here matters more.
  }
}
