/**
 * Puts the folder of blobs in order when a store is opened: its last owner may have died between writing
 * bytes and the commit that refers to them, or between a commit and the removal of what it does not need any
 * more. What is referred to and is not there is reported and left to its tasks: each of them learns of it
 * when it is run or asked for.
 */
import { readdirSync, statSync, truncateSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { StoreCorruptError } from '../../errors.js';
import { parseBlobFileName } from '../../task/blob-ref.js';
import { readBlobRow } from '../embedded/blobs.js';
import type { Tables } from '../embedded/tables.js';

/** Files that are looked at between two turns of the event loop. */
const FILES_PER_TURN = 256;

export interface FoundBlobs {
  /** Of all files together. */
  readonly usedBytes: number;
  /** No file has this writer, or a later one. */
  readonly nextWriter: number;
}

export async function recoverBlobs(
  folder: string,
  tables: Tables,
  onCorrupt: (error: Error) => void,
): Promise<FoundBlobs> {
  const names = new Set(readdirSync(folder).filter((name) => parseBlobFileName(name) !== undefined));
  let nextWriter = 0;
  let usedBytes = 0;
  const meet = (name: string): void => {
    nextWriter = Math.max(nextWriter, parseBlobFileName(name)!.writer + 1);
  };
  for (let start = ''; ; ) {
    const rows = tables.range('blob', { start, end: '\u0100', limit: FILES_PER_TURN });
    for (const [name, row] of rows) {
      const { end } = readBlobRow(row);
      meet(name);
      usedBytes += end;
      if (names.delete(name)) trim(join(folder, name), end, onCorrupt);
      else onCorrupt(new StoreCorruptError(join(folder, name), 'it is missing'));
    }
    if (rows.length < FILES_PER_TURN) break;
    start = `${rows[rows.length - 1]![0]}\0`;
    await setImmediate();
  }
  let removed = 0;
  for (const name of names) {
    meet(name);
    unlinkSync(join(folder, name));
    if (++removed % FILES_PER_TURN === 0) await setImmediate();
  }
  return { usedBytes, nextWriter };
}

/** Cuts off what was written after the last bytes that a commit refers to. */
function trim(path: string, end: number, onCorrupt: (error: Error) => void): void {
  const { size } = statSync(path);
  if (size > end) truncateSync(path, end);
  else if (size < end) {
    onCorrupt(new StoreCorruptError(path, `it has ${size} bytes, and tasks refer to ${end}`));
  }
}
