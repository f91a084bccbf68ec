/** Memory does not grow with the backlog: what does not fit into the window is in the store only. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, describe, it } from 'vitest';
import type { Backend } from '#src/broker/broker.js';
import { openEmbedded } from '#src/broker/embedded/broker.js';
import { lmdbTables } from '#src/broker/lmdb/lmdb-tables.js';

const folder = mkdtempSync(join(tmpdir(), 'millrace-bound-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes in use after all garbage is gone; mapped file pages are not counted. */
async function usedBytes(): Promise<number> {
  collect();
  await setImmediate();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function open(name: string): Promise<Backend> {
  return openEmbedded({
    ...{ kind: 'lmdb', lacks: {}, where: name, storeNumber: 1, now: () => 1_000 },
    tables: await lmdbTables(join(folder, name), 1),
    limits: { maxPendingEnqueues: 100_000, maxPendingBytes: 1e9 },
  });
}

async function fill({ broker }: Backend, tasks: number, bytes: number, perBatch: number): Promise<void> {
  for (let at = 0; at < tasks; at += perBatch) {
    const batch = Array.from({ length: perBatch }, (_, nth) => ({
      ...{ name: 'task', queue: 'default', level: (at / perBatch) % 10, body: Buffer.alloc(bytes, nth) },
    }));
    await broker.enqueue(batch).accepted;
  }
}

describe('memory', () => {
  it('is the same with 120,000 small tasks that wait as with 30,000', async () => {
    const backend = await open('small.mdb');
    await fill(backend, 30_000, 100, 1_000);
    const before = await usedBytes();
    await fill(backend, 90_000, 100, 1_000);
    const grown = (await usedBytes()) - before;
    assert.ok(grown < 5e5, `${grown} bytes more`);
    await backend.close();
  });

  it('is bounded in bytes with large tasks, which all come back', async () => {
    const backend = await open('large.mdb');
    const before = await usedBytes();
    await fill(backend, 120, 1_000_000, 5);
    const grown = (await usedBytes()) - before;
    assert.ok(grown < 90e6, `${grown} bytes more`);
    let seen = 0;
    for (;;) {
      const claims = await backend.broker.claim(() => 'take', 7);
      if (claims.length === 0) break;
      seen += claims.filter(({ body }) => body.length === 1_000_000 && body[0] === body[999_999]).length;
      const final = { settledAt: 1, expiresAt: 1e9, reason: 'seen' };
      await backend.broker.settle(
        claims.map((claim) => ({
          ...{ claim, kind: 'completed', result: Buffer.alloc(1), tally: claim.tally, ...final },
          attempt: { attempt: 1, startedAt: 1, runMs: 1, outcome: 'completed' },
        })),
      );
    }
    assert.equal(seen, 120);
    const left = (await usedBytes()) - before;
    assert.ok(left < 10e6, `${left} bytes are left`);
    await backend.close();
  });
});
