/**
 * `lmdb:` and plain paths: the durable default. The folder is won before the store is opened; the manifest
 * and the header are checked in plain JavaScript before the addon sees the file; the tasks that a dead owner
 * had handed out are read from `running.bin`.
 *
 *     folder/  manifest.json · data.mdb · data.mdb-lock · running.bin · blobs/ · epoch-N · owner sockets
 */
import { join } from 'node:path';
import { MillraceError, StoreUnavailableError } from '../../errors.js';
import { type Ownership, takeOwnership } from '../../owner/ownership.js';
import type { Backend } from '../broker.js';
import { openEmbedded } from '../embedded/broker.js';
import type { IntakeLimits } from '../embedded/intake.js';
import { passOverUnaccepted } from '../embedded/numbering.js';
import { stillSuspect } from '../embedded/suspects.js';
import { openBlobFiles } from './blob-files.js';
import { type LmdbTables, lmdbTables } from './lmdb-tables.js';
import { DATA_FILE, markInitialised, openManifest } from './manifest.js';
import { preflight } from './preflight.js';
import { RunningFile, readSuspects } from './running-file.js';
import { Space, type SpaceLimits } from './space.js';

export interface LmdbOptions {
  readonly folder: string;
  readonly ifLocked: 'fail' | 'wait';
  /** Of the folder, when it was won before; released with the backend, or when it cannot be opened. */
  readonly ownership?: Ownership;
  readonly limits: IntakeLimits;
  readonly space: SpaceLimits;
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
  const ownership =
    options.ownership ??
    (await takeOwnership(folder, { ifLocked, ...(signal === undefined ? {} : { signal }) }));
  try {
    return { ...(await openOwned(options, ownership)), door: ownership };
  } catch (error) {
    await ownership.release();
    if (error instanceof MillraceError) throw error;
    throw new StoreUnavailableError(folder, error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
}

async function openOwned(options: LmdbOptions, ownership: Ownership): Promise<Backend> {
  const { limits, now, onCorrupt, windowTasks } = options;
  const { folder } = ownership;
  const manifest = openManifest(folder);
  const data = join(folder, DATA_FILE);
  preflight(data, { committed: !manifest.fresh });
  const runningPath = join(folder, 'running.bin');
  const handedOut = readSuspects(runningPath);
  const tables = await lmdbTables(data, ownership.epoch);
  try {
    await passOverUnaccepted(tables);
    markInitialised(folder);
    const suspects = stillSuspect(tables, handedOut);
    const blobFiles = await openBlobFiles(folder, ownership.epoch, tables, onCorrupt);
    const space = new Space(folder, options.space, () => tables.usedBytes() + blobFiles.usedBytes);
    const running = new RunningFile(runningPath, ownership.epoch, suspects);
    return openEmbedded({
      kind: 'lmdb',
      lacks: { transfer: 'payloads are written to disk, so a moved buffer is copied into the store' },
      tables,
      where: folder,
      storeNumber: Number.parseInt(manifest.storeId.slice(0, 8), 16),
      limits: {
        ...limits,
        checkSpace: (tasks, bytes) => space.check(tasks, bytes),
        hasSpace: (bytes) => space.refusal(bytes) === undefined,
      },
      now,
      onCorrupt,
      suspects,
      onSuspectEnded: () => running.inheritedChanged(),
      blobFiles,
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
