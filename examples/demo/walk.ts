/**
 * Finds files, always in the same order, and holds no more than the listings of the folders it stands in. Symbolic
 * links are not followed. It never fails: what it cannot read it hands out all the same, and the task says why.
 */
import type { Dirent } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface FoundFile {
  readonly path: string;
  readonly bytes: number;
}

export interface WalkOptions {
  readonly folder: string;
  /** A folder that is left out: that of the store. */
  readonly data: string;
  /** Ends after the file with which this is reached. */
  readonly maxBytes: number;
}

export async function* walk({ folder, data, maxBytes }: WalkOptions): AsyncGenerator<FoundFile> {
  let bytes = 0;
  for await (const file of filesBelow(folder, data)) {
    if (bytes >= maxBytes) return;
    bytes += file.bytes;
    yield file;
  }
}

export async function* inBatches<Item>(items: AsyncIterable<Item>, size: number): AsyncGenerator<Item[]> {
  let batch: Item[] = [];
  for await (const item of items) {
    if (batch.push(item) < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function* filesBelow(folder: string, leftOut: string): AsyncGenerator<FoundFile> {
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch {
    yield { path: folder, bytes: 0 };
    return;
  }
  entries.sort((one, other) => (one.name < other.name ? -1 : 1));
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isSymbolicLink() || path === leftOut) continue;
    if (entry.isDirectory()) yield* filesBelow(path, leftOut);
    else yield { path, bytes: await sizeOf(path) };
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await lstat(path)).size;
  } catch {
    return 0;
  }
}
