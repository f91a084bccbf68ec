/**
 * Tasks that take their process with them, tasks that merely were there, and children whose owner dies: real
 * processes, killed by signals.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { openRuntime } from '#src/index.js';
import { silentLogger } from '#src/logger.js';
import { Child } from '../runtime/child.js';
import { fixture, freshFolder } from '../runtime/harness.js';

/** More than `maxCrashes`; `npm run test:long` kills it more often. */
const KILLS = Number(process.env.KILLS ?? 5);

/** What the store says of its tasks, when nobody runs them. */
async function inspect(store: string) {
  const tasks = fixture('children-tasks');
  const runtime = await openRuntime({ backend: store, tasks, autostart: false, logger: silentLogger });
  try {
    return (await runtime.list({})).tasks;
  } finally {
    await runtime.stop();
  }
}

describe('a handler that calls process.abort()', () => {
  it('takes the host down once, and is dead after maxCrashes with the host alive', async () => {
    const store = join(freshFolder(), 'store');
    const first = new Child('children-victim', store, 'aborts');
    expect(await first.ended).toBe('SIGABRT');
    const second = new Child('children-victim', store, 'nothing');
    expect(await second.line('settled')).toBe('settled dead crashed');
    expect(second.lines.filter((line) => line === 'begins the end')).toHaveLength(3);
    second.kill('SIGTERM');
    expect(await second.line('stopped')).toBe('stopped');
    expect(await second.ended).toBe(0);
    const [info, ...others] = await inspect(store);
    expect(others).toEqual([]);
    expect(info).toMatchObject({ state: 'dead', reason: 'crashed', crashes: 3, failures: 0 });
    for (const { outcome, error } of info!.attempts) {
      expect(outcome).toBe('crashed');
      expect(error!.message).toContain('child process was ended by SIGABRT');
    }
  });
});

describe(`a task that lives through ${KILLS} SIGKILLs of the host`, () => {
  const timeout = 30_000 + KILLS * 6_000;

  it('completes, on a thread or in a child, charged with nothing', { timeout }, async () => {
    const store = join(freshFolder(), 'store');
    for (let life = 0; life < KILLS; life++) {
      const child = new Child('children-victim', store, life === 0 ? 'waits' : 'nothing');
      if (life === 0) await child.lineCount('accepted', 2);
      await Promise.all([child.line('gate thread'), child.line('gate child')]);
      child.kill('SIGKILL');
      expect(await child.ended).toBe('SIGKILL');
    }
    const last = new Child('children-victim', store, 'last');
    await last.lineCount('settled completed waits', 2);
    last.kill('SIGTERM');
    await last.ended;
    const tasks = await inspect(store);
    expect(tasks).toHaveLength(2);
    for (const task of tasks) {
      expect(task).toMatchObject({ state: 'completed', crashes: 0, failures: 0 });
      expect(task.attempts).toHaveLength(1);
    }
  });
});

describe('a suspect', () => {
  it('that waits for a child to start holds nothing up that stands behind it', async () => {
    const store = join(freshFolder(), 'store');
    const first = new Child('children-victim', store, 'waits');
    await Promise.all([first.line('gate thread'), first.line('gate child')]);
    first.kill('SIGKILL');
    await first.ended;
    // Both places will be taken for good as soon as there are children.
    const second = new Child('children-victim', store, 'noop');
    expect(await second.line('settled')).toBe('settled completed noop');
    await Promise.all([second.line('gate thread'), second.line('gate child')]);
    expect(second.lines.indexOf('settled completed noop')).toBeLessThan(second.lines.indexOf('gate thread'));
  });
});

describe('a child process', () => {
  const CASES = [
    { how: 'in a busy loop', signal: 'SIGKILL', isNative: false },
    { how: 'in native code', signal: 'SIGKILL', isNative: true },
    { how: 'in a busy loop', signal: 'SIGABRT', isNative: false },
  ] as const;
  for (const { how, signal, isNative } of CASES) {
    it(`${how} dies with its owner, by ${signal}`, async () => {
      const folder = freshFolder();
      const [held, never] = [join(folder, 'held'), join(folder, 'never')];
      for (const fifo of [held, never]) execFileSync('mkfifo', [fifo]);
      const owner = new Child(
        'children-victim',
        join(folder, 'store'),
        'clings',
        held,
        ...(isNative ? [never] : []),
      );
      // Ends when nobody has it open for writing any more, and only the child had.
      const said = createReadStream(held);
      const whole = text(said);
      await once(said, 'readable');
      owner.kill(signal);
      expect(await owner.ended).toBe(signal);
      expect(Number(await whole)).toBeGreaterThan(0);
      expect(Number(await whole)).not.toBe(owner.process.pid);
    });
  }
});
