/**
 * `manifest.json` beside `data.mdb`: which store this is, in which format, and whether it has ever had a
 * commit.
 *
 * It is written complete or not at all, and before the data, so the order of events is
 *
 *     manifest, not initialised → data file → first commit → manifest, initialised → first acknowledgement
 *
 * Without a manifest a data file is somebody else's; with one that says `initialised`, a missing data file is
 * a loss and never an empty store. What a store that died before its first commit has left is removed here:
 * it cannot hold anything that was acknowledged. This file does not open `data.mdb`; whether its bytes are
 * sound is for `preflight`.
 */

import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { type Clock, type EpochMs, systemClock } from '../../clock.js';
import {
  MillraceError,
  StoreCorruptError,
  StoreForeignError,
  StoreTooNewError,
  StoreUnavailableError,
} from '../../errors.js';
import { errnoOf, reasonOf, syncFolder, writeComplete } from '../../owner/durable-file.js';
import { META_BYTES, pageBytesOf } from './preflight.js';

/** Format of keys and values in the store that this version writes, and the highest that it reads. */
export const STORE_FORMAT = 1;

export const MANIFEST_FILE = 'manifest.json';
export const DATA_FILE = 'data.mdb';

export interface Manifest {
  /** Identity of the store for as long as it lives: 16 hex digits, drawn when it was made. */
  readonly storeId: string;
  readonly format: number;
  readonly createdAt: EpochMs;
  /** True until `markInitialised`: nothing was ever acknowledged from here, and there may be no data file. */
  readonly fresh: boolean;
}

/** What tells our manifest from the `manifest.json` of a web page. */
const KIND = 'millrace-store';

/**
 * Reads the manifest, or makes a store of a folder that holds none. To be called by the owner of the folder.
 *
 * @throws {StoreForeignError} when there is an LMDB file and no manifest, or a manifest that is not ours.
 * @throws {StoreCorruptError} when the manifest is damaged, or the data file of a store in use is missing.
 * @throws {StoreTooNewError} when a newer version of Millrace wrote the store.
 * @throws {StoreUnavailableError} when the folder cannot be read or written.
 */
export function openManifest(folder: string, clock: Clock = systemClock): Manifest {
  return explained(folder, () => {
    const found = read(folder) ?? create(folder, clock);
    if (found.fresh) removeUnborn(join(folder, DATA_FILE));
    else if (!fs.existsSync(join(folder, DATA_FILE))) {
      throw new StoreCorruptError(
        join(folder, DATA_FILE),
        `it is missing, but store ${found.storeId} has had commits`,
      );
    }
    return found;
  });
}

/**
 * Records that the store has had a commit. To be called after the first one is flushed and before anything is
 * acknowledged; later calls do nothing.
 */
export function markInitialised(folder: string): void {
  explained(folder, () => {
    const found = read(folder);
    if (found === undefined) throw new StoreCorruptError(join(folder, MANIFEST_FILE), 'it is missing');
    if (!found.fresh) return;
    syncFolder(folder); // LMDB does not, and the data file's name must be on disk before we rely on it
    write(folder, { ...found, fresh: false });
  });
}

function create(folder: string, clock: Clock): Manifest {
  const foreign = fs.readdirSync(folder).find((name) => name.endsWith('.mdb') || name.endsWith('.mdb-lock'));
  if (foreign !== undefined)
    throw new StoreForeignError(folder, `it holds ${foreign}, but no ${MANIFEST_FILE}`);
  const storeId = randomBytes(8).toString('hex');
  const manifest = { storeId, format: STORE_FORMAT, createdAt: clock.now(), fresh: true };
  write(folder, manifest);
  return manifest;
}

/** A temporary file of an earlier death has the same name, so it does not stay. */
function write(folder: string, { storeId, format, createdAt, fresh }: Manifest): void {
  const temporary = join(folder, `${MANIFEST_FILE}.tmp`);
  fs.rmSync(temporary, { force: true });
  const text = JSON.stringify({ kind: KIND, format, storeId, createdAt, initialised: !fresh }, undefined, 2);
  writeComplete(temporary, `${text}\n`);
  fs.renameSync(temporary, join(folder, MANIFEST_FILE));
  syncFolder(folder);
}

function read(folder: string): Manifest | undefined {
  const path = join(folder, MANIFEST_FILE);
  let text: string;
  try {
    text = fs.readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  let value: Record<string, unknown> | null;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new StoreCorruptError(path, 'it is not JSON', { cause: error });
  }
  if (typeof value !== 'object' || value === null) throw new StoreCorruptError(path, 'it holds no object');
  const { kind, format, storeId, createdAt, initialised } = value;
  if (kind !== KIND) throw new StoreForeignError(folder, `its ${MANIFEST_FILE} is not that of a store`);
  if (!Number.isSafeInteger(format) || (format as number) < 1)
    throw new StoreCorruptError(path, 'it names no format');
  if ((format as number) > STORE_FORMAT) throw new StoreTooNewError(folder, format as number, STORE_FORMAT);
  if (typeof storeId !== 'string' || !/^[0-9a-f]{16}$/.test(storeId)) {
    throw new StoreCorruptError(path, 'it names no store');
  }
  if (!Number.isSafeInteger(createdAt) || typeof initialised !== 'boolean') {
    throw new StoreCorruptError(path, 'a field is missing or of the wrong kind');
  }
  return { storeId, format: format as number, createdAt: createdAt as number, fresh: !initialised };
}

/**
 * LMDB makes its file in one write of two pages, and flushes it with the first commit. Death in the midst
 * leaves no byte, or one page, or zeros: a stump that has never had a commit, and that the addon would refuse
 * for ever.
 */
function removeUnborn(dataFile: string): void {
  const size = fs.statSync(dataFile, { throwIfNoEntry: false })?.size;
  if (size === undefined) return;
  const header = Buffer.alloc(META_BYTES);
  const descriptor = fs.openSync(dataFile, 'r');
  fs.readSync(descriptor, header, 0, META_BYTES, 0);
  fs.closeSync(descriptor);
  const isStump = size < 2 * pageBytesOf(header) || header.every((byte) => byte === 0);
  if (isStump) fs.rmSync(dataFile);
}

function explained<T>(folder: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw new StoreUnavailableError(folder, reasonOf(error), { cause: error });
  }
}
