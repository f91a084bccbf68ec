/** Buffers that are moved instead of copied: into the runtime, and from the handler back. */
import { describe, expect, it } from 'vitest';
import { BACKENDS, freshBackend, Gate, open, rejection } from './harness.js';

const MIB = 1_048_576;

function filled(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes).fill(3);
}

describe.each(BACKENDS)('transfer (%s)', (kind) => {
  it('moves the buffer away from the caller and gives its bytes to the handler', async () => {
    const runtime = await open(kind, { threads: 1 });
    const data = filled(MIB);
    const result = runtime.run('bytes', { data }, { transfer: [data.buffer] });
    expect(data.buffer.byteLength).toBe(0);
    expect(await result).toEqual({ total: 3 * MIB });
  });

  it('gives each of many small ones its bytes, among others', async () => {
    const runtime = await open(kind, { threads: 1, autostart: false });
    const results = Array.from({ length: 100 }, (_, at) => {
      const data = filled(at + 1);
      return runtime.run('bytes', { data }, at % 3 === 0 ? {} : { transfer: [data.buffer] });
    });
    runtime.start();
    expect(await Promise.all(results)).toEqual(results.map((_, at) => ({ total: 3 * (at + 1) })));
  });

  it('without it leaves the buffer with the caller', async () => {
    const runtime = await open(kind, { threads: 1 });
    const data = filled(1_000);
    expect(await runtime.run('bytes', { data })).toEqual({ total: 3_000 });
    expect(data.buffer.byteLength).toBe(1_000);
  });

  it('gives every attempt the bytes, the last one the buffer itself', async () => {
    const runtime = await open(kind, { threads: 1 });
    const buffer = filled(100).buffer;
    const options = { transfer: [buffer], maxAttempts: 3 };
    // The payload of `fails` may be anything; it ends in its second attempt.
    const payload = { until: 2, data: buffer };
    expect(await runtime.run('fails', payload as never, options)).toBe(2);
  });

  it('is refused for a buffer that has been moved or is not of the payload', async () => {
    const runtime = await open(kind, { threads: 1 });
    const gone = filled(10);
    structuredClone(null, { transfer: [gone.buffer] });
    expect(await rejection(runtime.run('bytes', { data: gone }, { transfer: [gone.buffer] }))).toMatchObject({
      code: 'ERR_MILLRACE_INVALID_ARGUMENT',
    });
    const shared = new SharedArrayBuffer(10) as unknown as ArrayBuffer;
    expect(await rejection(runtime.run('echo', 1, { transfer: [shared] }))).toMatchObject({
      code: 'ERR_MILLRACE_INVALID_ARGUMENT',
    });
  });

  it('keeps to `maxBufferBytes`, and the caller keeps the buffer', async () => {
    const runtime = await open(kind, { threads: 1, maxBufferBytes: 1_000 });
    const data = filled(1_001);
    const error = await rejection(runtime.run('bytes', { data }, { transfer: [data.buffer] }));
    expect(['ERR_MILLRACE_TOO_LARGE', 'ERR_MILLRACE_INVALID_ARGUMENT']).toContain(error.code);
    expect(data.buffer.byteLength).toBe(1_001);
  });

  it('of a result moves it back to the host whole', async () => {
    const runtime = await open(kind, { threads: 1 });
    const data = filled(MIB);
    const result = (await runtime.run('bytes', { data, back: true })) as { total: number; data: Uint8Array };
    expect(result.total).toBe(3 * MIB);
    expect(Buffer.compare(result.data, filled(MIB))).toBe(0);
  });
});

describe('a buffer in memory', () => {
  it('of a task with one attempt is lost with its thread, and the task says so', async () => {
    const gate = new Gate();
    const runtime = await open('memory', { threads: 1, services: gate.services });
    const buffer = filled(100).buffer;
    const options = { transfer: [buffer], maxAttempts: 1, maxCrashes: 3 };
    const payload = { code: 5, data: buffer };
    expect(await rejection(runtime.run('exits', payload, options))).toMatchObject({
      code: 'ERR_MILLRACE_TASK_DEAD',
      reason: 'payload-lost',
    });
  });

  it('of a task with more attempts survives its thread', async () => {
    const runtime = await open('memory', { threads: 1 });
    const buffer = filled(100).buffer;
    const options = {
      transfer: [buffer],
      maxAttempts: 2,
      maxCrashes: 2,
      backoff: { kind: 'fixed', baseMs: 1 },
    } as const;
    const error = await rejection(runtime.run('exits', { code: 5, data: buffer } as never, options));
    // The first attempt had a copy, so there was a second one.
    expect(['crashed', 'payload-lost']).toContain(error.reason);
    const [task] = (await runtime.list({ state: 'dead' })).tasks;
    expect(task!.attempts.length).toBe(2);
  });
});

describe('a buffer on disk', () => {
  it('is stored, so that the task survives a restart', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend, { threads: 1, autostart: false });
    const data = filled(MIB);
    const { id } = await first.enqueue('bytes', { data }, { transfer: [data.buffer], maxAttempts: 1 });
    expect(data.buffer.byteLength).toBe(0);
    await first.stop();
    const second = await open(backend, { threads: 1 });
    expect(await second.handle(id).result()).toEqual({ total: 3 * MIB });
  });
});
