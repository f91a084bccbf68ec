/** Large payloads and results, through every kind of place that runs them and every way to ask for them. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { freshBackend, open, openTestClient, type TestOptions } from './harness.js';

const SIZES = [20_000, 1_100_000, 3_000_000];

function filled(bytes: number): Uint8Array {
  const data = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at++) data[at] = at % 251;
  return data;
}

/** Of which the runtime has no use any more. */
function filesOf(backend: string): string[] {
  return readdirSync(join(backend, 'blobs'));
}

async function roundTrip(backend: string, options: TestOptions, isolation: 'thread' | 'process') {
  const runtime = await open(backend, { threads: 1, ...options });
  const kept = { isolation };
  for (const size of SIZES) {
    const payload = filled(size);
    assert.deepEqual(await runtime.run('echo', payload, kept), payload);
  }
  // Side by side: results of several tasks are in one file when it is closed.
  const many = Array.from({ length: 60 }, (_, at) => filled(30_000 + at));
  assert.deepEqual(await Promise.all(many.map((payload) => runtime.run('echo', payload, kept))), many);
  return runtime;
}

describe.each(['thread', 'process'] as const)('large payloads and results of a %s', (isolation) => {
  it('come whole, and their files go with them', { timeout: 60_000 }, async () => {
    const backend = freshBackend('lmdb');
    const runtime = await roundTrip(backend, {}, isolation);
    expect(filesOf(backend).length).toBeGreaterThan(SIZES.length);
    expect(await runtime.delete({ state: 'completed' })).toBe(SIZES.length + 60);
    await runtime.stop();
    expect(filesOf(backend)).toEqual([]);
  });

  it('come whole of tasks that run at once', { timeout: 60_000 }, async () => {
    const backend = freshBackend('lmdb');
    await roundTrip(backend, { queues: { default: { perThread: 8 } } }, isolation);
  });

  it.each(['wait', 'join'] as const)('come whole where threads had booted ahead (%s)', async (ifLocked) => {
    const backend = freshBackend('lmdb');
    const owner = await open(backend, { threads: 1 });
    const opening = roundTrip(backend, { ifLocked }, isolation);
    if (ifLocked === 'join') await opening;
    await owner.stop();
    const runtime = await opening;
    const payload = filled(2_000_000);
    assert.deepEqual(await runtime.run('echo', payload, { isolation }), payload);
  });
});

describe('a client', () => {
  it('sends large payloads and gets large results, whoever owns the folder', async () => {
    const backend = freshBackend('lmdb');
    const client = await openTestClient(backend);
    const payloads = SIZES.map(filled);
    const handles = await Promise.all(payloads.map((payload) => client.enqueue('echo', payload)));
    // Of the caretaker that it is now.
    assert.deepEqual((await client.get(handles[1]!.id))!.payload, payloads[1]);
    const runtime = await open(backend, { threads: 1 });
    assert.deepEqual(await Promise.all(handles.map((handle) => handle.result())), payloads);
    const results = (await client.list()).tasks.map(({ result }) => (result as Uint8Array).length);
    assert.deepEqual(results.sort(), [...SIZES].sort());
    await runtime.stop();
    assert.deepEqual(await client.handle(handles[2]!.id).result(), payloads[2]);
  });
});
