/**
 * Large payloads and results through the whole runtime, on both backends and after restarts. Compared by
 * `assert`, since `expect` takes minutes for megabytes.
 */
import assert from 'node:assert/strict';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { BACKENDS, freshBackend, nextEvent, open, rejection } from './harness.js';

const MIB = 1_048_576;

function bytesOf(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at++) bytes[at] = (at * 31) ^ (at >>> 9);
  return bytes;
}

/** Of every kind of encoding, from small to large. */
const VALUES: readonly (readonly [what: string, value: unknown])[] = [
  ['a text of 20 KB', 'päyload '.repeat(2_500)],
  ['bytes of 16 KiB', bytesOf(16_384)],
  ['bytes of 1 MiB', bytesOf(MIB)],
  ['bytes of 8 MiB', bytesOf(8 * MIB)],
  ['nested data', { list: Array.from({ length: 9_000 }, (_, at) => [at, `${at}`]), big: 2n ** 70n }],
  ['typed arrays within', { floats: new Float64Array(40_000).fill(0.5), at: new Date(7) }],
];

describe.each(BACKENDS)('a large payload and result (%s)', (kind) => {
  for (const [what, value] of VALUES) {
    it(`come and go whole: ${what}`, async () => {
      const runtime = await open(kind);
      const handle = await runtime.enqueue('echo', value);
      const result = await handle.result();
      assert.deepEqual(result, value);
      assert.deepEqual((await runtime.get(handle.id))?.result, value);
    });
  }

  it('are the same in another format', async () => {
    const runtime = await open(kind);
    const value = { text: 'x'.repeat(50_000) };
    expect(await runtime.run('echo', value, { codec: 'json' })).toEqual(value);
  });

  it('may be among small ones in a batch', async () => {
    const runtime = await open(kind);
    const payloads = Array.from({ length: 60 }, (_, at) => (at % 3 === 0 ? bytesOf(20_000 + at) : at));
    const handles = await runtime.enqueueBatch(payloads.map((payload) => ({ name: 'echo', payload })));
    const results = await Promise.all(handles.map((handle) => handle.result()));
    assert.deepEqual(results, payloads);
  });

  it('are handed on by handlers, with a completion and at once', async () => {
    const runtime = await open(kind);
    const next = bytesOf(40_000);
    const id = await runtime.run('handsNow', next);
    assert.deepEqual(await runtime.handle(id).result(), next);
    await runtime.run('hands', { next });
    await runtime.whenIdle();
    const { tasks } = await runtime.list({ name: 'echo', state: 'completed' });
    assert.deepEqual(
      tasks.map((task) => task.result),
      [next, next],
    );
  });

  it('come to every attempt, stay with a dead task and go round again with it', async () => {
    const runtime = await open(kind);
    const payload = { until: 4, pad: bytesOf(100_000) };
    const handle = await runtime.enqueue('fails', payload, { maxAttempts: 3 });
    await rejection(handle.result());
    assert.deepEqual((await runtime.get(handle.id))?.payload, payload);
    await runtime.redrive(handle.id);
    await rejection(handle.result());
    expect(await runtime.counts()).toMatchObject(new Map([['default', { dead: 1 }]]));
  });

  it('are read for nobody when a task is asked for its state, or cancelled', async () => {
    const runtime = await open(kind, { autostart: false });
    const handle = await runtime.enqueue('echo', bytesOf(MIB));
    expect(await handle.state()).toBe('ready');
    expect(await runtime.cancel({ name: 'echo' })).toBe(1);
    expect(await handle.state()).toBe('cancelled');
  });
});

describe('on disk, a large payload', () => {
  it('is there after a restart, and its file goes with the last need of it', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend, { autostart: false });
    const handles = await first.enqueueBatch([
      { name: 'large', payload: { bytes: MIB, pad: bytesOf(MIB) } as never },
      { name: 'sum', payload: [1, 2] },
    ]);
    await first.stop();
    expect(readdirSync(join(backend, 'blobs'))).toHaveLength(1);
    const second = await open(backend);
    const results = await Promise.all(handles.map(({ id }) => second.handle(id).result()));
    assert.deepEqual(results, [new Uint8Array(MIB).fill(7), 3]);
    await second.stop();
    // Of the payload nothing is left, and the result is kept.
    expect(readdirSync(join(backend, 'blobs'))).toHaveLength(1);
    const third = await open(backend);
    await third.delete(handles[0]!.id);
    while (readdirSync(join(backend, 'blobs')).length > 0) await setImmediate();
  });

  it('that a handler enqueues with its completion is in a file, too', async () => {
    const backend = freshBackend('lmdb');
    const runtime = await open(backend);
    const handle = await runtime.enqueue('handsLater', bytesOf(2 * MIB));
    await handle.result();
    const folder = join(backend, 'blobs');
    while (readdirSync(folder).length > 1) await setImmediate();
    expect(statSync(join(folder, readdirSync(folder)[0]!)).size).toBe(2 * MIB + 1);
    const { tasks } = await runtime.list({ name: 'echo' });
    assert.deepEqual(
      tasks.map(({ state, payload }) => [state, payload]),
      [['scheduled', bytesOf(2 * MIB)]],
    );
    await runtime.cancel(tasks[0]!.id);
    await runtime.delete(tasks[0]!.id);
    while (readdirSync(folder).length > 0) await setImmediate();
  });

  it('that is damaged ends its task alone, with the reason', async () => {
    const backend = freshBackend('lmdb');
    const runtime = await open(backend, { autostart: false });
    const [bad, good] = await runtime.enqueueBatch([
      { name: 'echo', payload: bytesOf(2 * MIB) },
      { name: 'echo', payload: bytesOf(3 * MIB) },
    ]);
    const folder = join(backend, 'blobs');
    const path = join(folder, readdirSync(folder).sort()[0]!);
    const bytes = readFileSync(path);
    bytes[1_000]! ^= 4;
    writeFileSync(path, bytes);
    runtime.start();
    assert.deepEqual(await good!.result(), bytesOf(3 * MIB));
    const error = await rejection(bad!.result());
    expect(error).toMatchObject({ code: 'ERR_MILLRACE_TASK_DEAD', reason: 'invalid-payload' });
    expect(error.cause).toMatchObject({ code: 'ERR_MILLRACE_STORE_CORRUPT' });
    expect(await runtime.run('sum', [1, 2])).toBe(3);
  });

  it('that cannot be read now is tried again', async () => {
    const backend = freshBackend('lmdb');
    const runtime = await open(backend, { autostart: false });
    const backoff = { kind: 'fixed', baseMs: 100, jitter: 'none' } as const;
    const handle = await runtime.enqueue('echo', bytesOf(2 * MIB), { backoff });
    const path = join(backend, 'blobs', readdirSync(join(backend, 'blobs'))[0]!);
    // A folder can be opened, and not be read.
    renameSync(path, `${path}.kept`);
    mkdirSync(path);
    const failed = nextEvent(runtime, 'retrying');
    runtime.start();
    await failed;
    rmdirSync(path);
    renameSync(`${path}.kept`, path);
    assert.deepEqual(await handle.result(), bytesOf(2 * MIB));
    expect((await runtime.get(handle.id))?.attempts[0]?.error).toMatchObject({ code: 'EISDIR' });
  });

  it('is refused beyond what may be on its way, and no other is', async () => {
    const runtime = await open('lmdb', { maxPendingBytes: 3 * MIB });
    const enqueues = Array.from({ length: 5 }, () => runtime.enqueue('noop', bytesOf(MIB - 100) as never));
    const ended = await Promise.allSettled(enqueues);
    expect(ended.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    expect(ended[4]).toMatchObject({ reason: { code: 'ERR_MILLRACE_QUEUE_FULL' } });
    await runtime.enqueue('noop', undefined);
    await runtime.whenIdle();
  });
});
