/** A batch of a million is all there or not at all, also when the process is killed with SIGKILL. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Child } from '../runtime/child.js';
import { freshFolder, open, type TestRuntime } from '../runtime/harness.js';

/** Kills a process at this moment. @returns the next owner of its store, and what the process had said. */
async function nextOwner(when: 'staging' | 'accepted'): Promise<{ next: TestRuntime; said: string[] }> {
  const store = join(freshFolder(), 'store');
  const child = new Child('batch-victim', store, when);
  expect([await child.ended, child.errors]).toEqual(['SIGKILL', '']);
  const said = child.lines.at(-1)!.split(' ');
  expect(said[0]).toBe(when);
  return { next: await open(store, { autostart: false, threads: 1 }), said };
}

async function waiting(runtime: TestRuntime) {
  return (await runtime.counts()).get('default')!;
}

describe('a batch of a million', () => {
  it('whose process is killed in the middle of it is not there', { timeout: 60_000 }, async () => {
    const { next } = await nextOwner('staging');
    expect(await waiting(next)).toMatchObject({ ready: 1, blocked: 0, scheduled: 0 });
    const { tasks } = await next.list({}, { limit: 1_000 });
    expect(tasks.map(({ payload }) => payload)).toEqual(['here']);
    next.start();
    expect(await next.run('echo', 'next')).toBe('next');
    await next.whenIdle();
    expect(await waiting(next)).toMatchObject({ ready: 0, completed: 2 });
  });

  it('whose process is killed right after its acceptance is all there', { timeout: 60_000 }, async () => {
    const { next, said } = await nextOwner('accepted');
    const [, count, first, last] = said;
    expect(count).toBe('1000000');
    expect(await waiting(next)).toMatchObject({ ready: 1_000_001, blocked: 0 });
    expect(await next.get(first!)).toMatchObject({ state: 'ready', payload: 0 });
    expect(await next.get(last!)).toMatchObject({ state: 'ready', payload: 999_999 });
    next.start();
    expect(await next.handle(first!).result()).toBe(0);
  });
});
