/**
 * The LMDB backend under the conformance suite. A crash is a copy of the files as they are at that moment.
 */
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Backend } from '#src/broker/broker.js';
import { openLmdb } from '#src/broker/lmdb/lmdb.js';
import { type OpenForTest, testBackend } from '#src/testing/conformance.js';

const root = mkdtempSync(join(tmpdir(), 'millrace-conformance-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Folder in which each store lives now. */
const folders = new Map<string, string>();
const damages: Error[] = [];

function open({ store, ...options }: OpenForTest): Promise<Backend> {
  const folder = folders.get(store) ?? join(root, store);
  folders.set(store, folder);
  const space = { maxBytes: Number.POSITIVE_INFINITY, minFreeBytes: 0 };
  const onCorrupt = (error: Error): number => damages.push(error);
  return openLmdb({ ...options, folder, space, onCorrupt, ifLocked: 'fail' });
}

async function crash(store: string, backend: Backend): Promise<void> {
  const folder = folders.get(store)!;
  const copy = `${folder}-`;
  mkdirSync(copy, { mode: 0o700 });
  for (const name of readdirSync(folder).filter((name) => /\.(?:mdb|bin|json)$/.test(name))) {
    copyFileSync(join(folder, name), join(copy, name));
  }
  cpSync(join(folder, 'blobs'), join(copy, 'blobs'), { recursive: true });
  folders.set(store, copy);
  await backend.close();
}

testBackend({ describe, it }, 'lmdb', open, { crash });

it('reads every row that it wrote', () => expect(damages).toEqual([]));
