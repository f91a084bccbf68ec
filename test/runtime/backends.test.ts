/**
 * The backends that need no threads: `immediate:` runs tasks on the host's own thread, `dummy:` runs none.
 */
import { describe, expect, it } from 'vitest';
import { open, rejection } from './harness.js';

describe('immediate:', () => {
  it('runs tasks on the thread of the host', async () => {
    const runtime = await open('immediate:');
    expect(await runtime.run('threadOf', undefined)).toBe(0);
    expect(await runtime.run('sum', [1, 2])).toBe(3);
  });

  it('behaves like threads do: retries, dead letters, context, results by copy', async () => {
    const runtime = await open('immediate:', {
      services: { math: { add: (_: unknown, a: number, b: number) => a + b } },
    });
    expect(await runtime.run('fails', { until: 3 })).toBe(3);
    expect(await rejection(runtime.run('fails', { error: 'payment' }))).toMatchObject({ reason: 'failed' });
    expect(await runtime.run('asks', [2, 3])).toBe(5);
    const given = { list: [1] };
    const back = await runtime.run('echo', given);
    expect(back).toEqual(given);
    expect(back).not.toBe(given);
    const id = await runtime.run('handsNow', 'x');
    expect(await runtime.handle(id).result()).toBe('x');
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: 5, dead: 1 });
  });

  it('aborts a handler that listens at its deadline', async () => {
    const runtime = await open('immediate:', { services: { gate: () => {} } });
    const error = await rejection(runtime.run('obeys', 'a', { timeoutMs: 20, maxAttempts: 1 }));
    expect(error).toMatchObject({ reason: 'timed-out' });
  });

  it('refuses a module that cannot be loaded', async () => {
    const url = new URL(
      './tasks-modules/throws.js',
      new URL('dist/test/fixtures/', `file://${process.cwd()}/`),
    );
    expect(await rejection(open('immediate:', { tasks: url }))).toMatchObject({
      code: 'ERR_MILLRACE_TASKS_MODULE',
    });
  });
});

describe('dummy:', () => {
  it('checks and accepts everything, and runs nothing', async () => {
    const runtime = await open('dummy:');
    const handle = await runtime.enqueue('sum', [1, 2]);
    expect(await handle.state()).toBe('ready');
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 1, unhandled: 0, running: 0 });
    expect(await rejection(runtime.enqueue('no/name' as never, 1 as never))).toMatchObject({
      code: 'ERR_MILLRACE_INVALID_NAME',
    });
    expect(await rejection(handle.result({ timeoutMs: 1 }))).toMatchObject({
      code: 'ERR_MILLRACE_WAIT_TIMEOUT',
    });
    expect(await handle.cancel()).toBe(true);
  });
});
