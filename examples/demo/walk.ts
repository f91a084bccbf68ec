/**
 * Finds files, always in the same order, and holds no more than the listings of the folders it stands in.
 * Symbolic links are not followed. It never fails: what it cannot read it hands out all the same, and the
 * task says why.
 */
import type { Dirent } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface FoundFile {
  readonly path: string;
  readonly bytes: number;
}

/** How much something is. */
export interface Amount {
  readonly files: number;
  readonly bytes: number;
}

export interface WalkOptions {
  readonly folder: string;
  /** A folder that is left out: the demo's own. */
  readonly data: string;
  /** The file that reaches this is the last one. */
  readonly maxBytes: number;
}

export async function* walk({ folder, data, maxBytes }: WalkOptions): AsyncGenerator<FoundFile> {
  let bytes = 0;
  for await (const file of filesBelow(folder, data)) {
    yield file;
    bytes += file.bytes;
    if (bytes >= maxBytes) return;
  }
}

export async function measure(found: AsyncIterable<FoundFile>): Promise<Amount> {
  const total = { files: 0, bytes: 0 };
  for await (const { bytes } of found) {
    total.files++;
    total.bytes += bytes;
  }
  return total;
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
  const entries = await readdir(folder, { withFileTypes: true }).catch((): Dirent[] | undefined => undefined);
  if (entries === undefined) yield { path: folder, bytes: 0 };
  for (const entry of entries?.sort((one, other) => (one.name < other.name ? -1 : 1)) ?? []) {
    const path = join(folder, entry.name);
    if (entry.isSymbolicLink() || path === leftOut) continue;
    if (entry.isDirectory()) yield* filesBelow(path, leftOut);
    else yield { path, bytes: (await lstat(path).catch(() => undefined))?.size ?? 0 };
  }
}
