/** Limits as users meet them: what definitions and options say, what is set while running, and refusals. */
import { afterEach, describe, expect, it } from 'vitest';
import type { LimitScope, OpenOptions, Runtime } from '#src/index.js';
import { openRuntime } from '#src/index.js';
import { silentLogger } from '#src/logger.js';
import { task } from '#src/task-module.js';
import { openTestRuntime, type TestRuntimeOptions } from '#src/testing/index.js';
import type * as fixtures from '../fixtures/limit-tasks.js';
import { fixture, freshBackend, Gate, openTestClient, rejection } from './harness.js';

const MINUTE = 60_000;
const open = new Set<{ stop: (options: object) => Promise<unknown> }>();
afterEach(async () => {
  for (const runtime of open) await runtime.stop({ graceMs: 0, killMs: 0 });
  open.clear();
});

type Tenant = { readonly tenant?: { readonly id: unknown } };
const handlers = {
  paced: task((payload: Tenant) => payload.tenant?.id, {
    limitKey: 'tenant.id',
    tokenBucket: { capacity: 2, refillPerSec: 1 / 60 },
  }),
  plain: (payload: unknown): unknown => payload,
};

async function openTest(options: Partial<TestRuntimeOptions<typeof handlers>> = {}) {
  const runtime = await openTestRuntime<typeof handlers>({ tasks: handlers, ...options });
  open.add(runtime);
  return runtime;
}

async function openLimited(backend: string, options: Partial<OpenOptions> = {}) {
  const runtime = await openRuntime<typeof fixtures>({
    ...{ backend, tasks: fixture('limit-tasks'), threads: 3, logger: silentLogger },
    ...options,
  });
  open.add(runtime);
  return runtime;
}

/** Results of all that runs now. */
async function ran(runtime: { runAll(): Promise<readonly { readonly result?: unknown }[]> }) {
  return (await runtime.runAll()).map(({ result }) => result);
}

const of = (id: unknown): Tenant => ({ tenant: { id } });

describe('a limit of a definition', () => {
  it('holds for each key by itself, and exactly by the clock', async () => {
    const runtime = await openTest();
    for (const id of ['a', 'a', 'a', 'a', 'b']) await runtime.enqueue('paced', of(id));
    expect(await ran(runtime)).toEqual(['a', 'b', 'a']);
    await runtime.advance(MINUTE - 1);
    expect(await ran(runtime)).toEqual([]);
    await runtime.advance(1);
    expect(await ran(runtime)).toEqual(['a']);
    await runtime.advance(MINUTE);
    expect(await ran(runtime)).toEqual(['a']);
  });

  it('stands before nobody else, however many keys have to wait', async () => {
    const total = { tokenBucket: { capacity: 1, refillPerSec: 1 / 60 } };
    const runtime = await openTest({ limits: { tasks: { paced: { total } } } });
    const options = { priority: 9 };
    const keys = Array.from({ length: 3_500 }, (_, key) => key);
    await runtime.enqueueBatch(keys.map((key) => ({ name: 'paced', payload: of(key), options })));
    await runtime.enqueue('plain', 'later', { priority: 0 });
    expect(await ran(runtime)).toEqual([0, 'later']);
    await runtime.advance(MINUTE);
    expect(await ran(runtime)).toEqual([1]);
  });

  it('stands before nobody else: other names and keys go on', async () => {
    const runtime = await openTest();
    for (let count = 0; count < 5; count++) await runtime.enqueue('paced', of('a'), { priority: 9 });
    await runtime.enqueue('plain', 'later', { priority: 0 });
    expect(await ran(runtime)).toEqual(['a', 'a', 'later']);
  });

  it('holds together for all tasks that have no key', async () => {
    const runtime = await openTest();
    for (const payload of [{}, { tenant: {} }, of(undefined), of('a')] as Tenant[]) {
      await runtime.enqueue('paced', payload);
    }
    expect(await ran(runtime)).toEqual([undefined, 'a', undefined]);
  });

  it('takes texts, numbers, big integers and booleans as keys', async () => {
    const runtime = await openTest();
    for (const id of [1, 1n, '1', true]) await runtime.enqueue('paced', of(id));
    expect(await ran(runtime)).toEqual([1, true, 1n]);
  });

  const NO_KEYS: readonly [string, unknown][] = [
    ['null', null],
    ['an object', {}],
    ['a date', new Date(0)],
    ['a text of 257 characters', 'x'.repeat(257)],
    ['half a surrogate pair', 'a\ud800'],
  ];
  for (const [what, id] of NO_KEYS) {
    it(`refuses ${what} as a key, naming the path and not the value`, async () => {
      const runtime = await openTest();
      const error = await rejection(runtime.enqueue('paced', of(id)));
      expect(error).toMatchObject({ code: 'ERR_MILLRACE_INVALID_ARGUMENT', argument: 'payload.tenant.id' });
      expect(error.message).not.toContain('x'.repeat(9));
      expect(await ran(runtime)).toEqual([]);
    });
  }

  it('counts a retry as a start, and gives back what never started', async () => {
    const runtime = await openTest();
    runtime.planFailure('paced', new Error('planned'));
    await runtime.enqueue('paced', of('a'), { maxAttempts: 2, backoff: { kind: 'fixed', baseMs: 0 } });
    await runtime.enqueue('paced', of('a'), { staleAt: runtime.clock.now() + 1_000 });
    expect(await runtime.runAll()).toHaveLength(2);
    await runtime.advance(0);
    expect(await runtime.runAll()).toHaveLength(0);
    await runtime.advance(MINUTE);
    // The stale one is cancelled, and takes nothing.
    expect((await runtime.runAll()).map(({ state }) => state)).toEqual(['completed']);
  });
});

describe('limits of the options', () => {
  it('count the cost of tasks, which may be the whole bucket', async () => {
    const runtime = await openTest({
      limits: { tasks: { plain: { tokenBucket: { capacity: 10, refillPerSec: 1 } } } },
    });
    await runtime.enqueue('plain', 1, { cost: 6 });
    await runtime.enqueue('plain', 2, { cost: 1_000 });
    expect(await ran(runtime)).toEqual([1]);
    await runtime.advance(5_999);
    expect(await ran(runtime)).toEqual([]);
    await runtime.advance(1);
    expect(await ran(runtime)).toEqual([2]);
  });

  it('hold for the runtime, a queue, a name as a whole, and single keys', async () => {
    const quota = (limit: number) => ({ quota: { limit, perMs: 86_400_000 } });
    const runtime = await openTest({
      limits: {
        perRuntime: quota(6),
        queues: { images: quota(1) },
        tasks: {
          paced: {
            ...quota(2),
            total: quota(3),
            keys: { big: { tokenBucket: { capacity: 9, refillPerSec: 1 } } },
          },
        },
      },
    });
    for (const id of ['big', 'big', 'big', 'a', 'a', 'a']) await runtime.enqueue('paced', of(id));
    for (const payload of ['x', 'y']) await runtime.enqueue('plain', payload, { queue: 'images' });
    for (const payload of ['u', 'v', 'w']) await runtime.enqueue('plain', payload);
    const results = await ran(runtime);
    const count = (...wanted: readonly unknown[]) => results.filter((each) => wanted.includes(each)).length;
    expect(results).toHaveLength(6);
    expect([count('x', 'y'), count('a', 'big')]).toEqual([1, 3]);
    expect(Math.max(count('a'), count('big'))).toBe(2);
  });

  it('give lanes turns by weight, also at a limit that all of them share', async () => {
    const runtime = await openTest({
      limits: {
        tasks: {
          plain: {
            limitKey: 'of',
            total: { tokenBucket: { capacity: 1, refillPerSec: 1_000 } },
            keys: { big: { weight: 3 } },
          },
        },
      },
    });
    for (let count = 0; count < 30; count++) {
      for (const key of ['big', 'one', 'two']) await runtime.enqueue('plain', { of: key });
    }
    const order: string[] = [];
    for (let count = 0; count < 25; count++) {
      for (const { result } of await runtime.runAll()) order.push((result as { of: string }).of);
      await runtime.advance(1);
    }
    const shares = ['big', 'one', 'two'].map((key) => order.filter((each) => each === key).length);
    expect(shares).toEqual([15, 5, 5]);
  });

  it('keep no lane waiting for ever at a limit that all share, while new lanes come in', async () => {
    const total = { tokenBucket: { capacity: 1, refillPerSec: 1_000 } };
    const runtime = await openTest({ limits: { tasks: { plain: { limitKey: 'of', total } } } });
    for (const key of ['old', 'old', 'old', 'b', 'c']) await runtime.enqueue('plain', { of: key });
    const order: string[] = [];
    for (let next = 0; next < 120; next++) {
      await runtime.enqueue('plain', { of: `new ${next}` });
      for (const { result } of await runtime.runAll()) order.push((result as { of: string }).of);
      await runtime.advance(1);
    }
    expect(order.filter((key) => key === 'old').length).toBe(3);
  });

  it('take the key from a function of the host', async () => {
    const runtime = await openTest({
      hooks: { plain: { limitKey: (payload: { a: number; b: number }) => String(payload.a + payload.b) } },
      limits: { tasks: { plain: { quota: { limit: 1, perMs: MINUTE } } } },
    });
    await runtime.enqueue('plain', { a: 1, b: 2 });
    await runtime.enqueue('plain', { a: 2, b: 1 });
    await runtime.enqueue('plain', { a: 2, b: 2 });
    expect(await ran(runtime)).toEqual([
      { a: 1, b: 2 },
      { a: 2, b: 2 },
    ]);
  });
});

describe('runtime.limits', () => {
  it('sets a rule that holds at once, up and down, and removes it', async () => {
    const runtime = await openTest();
    for (let count = 0; count < 9; count++) await runtime.enqueue('plain', count);
    await runtime.limits.set({ task: 'plain' }, { quota: { limit: 2, perMs: MINUTE } });
    expect(await ran(runtime)).toEqual([0, 1]);
    await runtime.limits.set({ task: 'plain' }, { quota: { limit: 4, perMs: MINUTE } });
    expect(await ran(runtime)).toEqual([2, 3]);
    await runtime.limits.set({ task: 'plain' }, { quota: { limit: 1, perMs: MINUTE } });
    expect(await ran(runtime)).toEqual([]);
    expect(await runtime.limits.remove({ task: 'plain' })).toBe(true);
    expect(await ran(runtime)).toEqual([4, 5, 6, 7, 8]);
    expect(await runtime.limits.remove({ task: 'plain' })).toBe(false);
  });

  it('gives no second burst or quota for removing a rule and setting it again', async () => {
    for (const rule of [
      { tokenBucket: { capacity: 2, refillPerSec: 1 / 60 } },
      { quota: { limit: 2, perMs: 86_400_000 } },
    ]) {
      const runtime = await openTest();
      for (let count = 0; count < 5; count++) await runtime.enqueue('plain', count);
      await runtime.limits.set({ task: 'plain' }, rule);
      expect(await ran(runtime)).toEqual([0, 1]);
      await runtime.limits.remove({ task: 'plain' });
      await runtime.limits.set({ task: 'plain' }, rule);
      expect(await ran(runtime)).toEqual([]);
      await runtime.advance('tokenBucket' in rule ? MINUTE : 86_400_000);
      expect(await ran(runtime)).toEqual('tokenBucket' in rule ? [2] : [2, 3]);
    }
  });

  it('lists what holds, and what was set', async () => {
    const bucket = { capacity: 5, refillPerSec: 1 };
    const runtime = await openTest({ limits: { perRuntime: { concurrency: 9 } } });
    await runtime.limits.set({ task: 'paced', key: 'a' }, { weight: 2 });
    await runtime.limits.set({ task: 'paced' }, { tokenBucket: bucket });
    expect(await runtime.limits.list()).toEqual([
      {
        scope: { task: 'paced', key: 'a' },
        rule: { tokenBucket: bucket, weight: 2 },
        set: { weight: 2 },
      },
      { scope: 'runtime', rule: { concurrency: 9 } },
      {
        scope: { task: 'paced' },
        rule: { limitKey: 'tenant.id', tokenBucket: bucket },
        set: { tokenBucket: bucket },
      },
    ]);
  });

  it('moves tasks that were enqueued before their name had a limit', async () => {
    const runtime = await openTest();
    for (let count = 0; count < 4; count++) await runtime.enqueue('plain', count);
    await runtime.limits.set(
      { task: 'plain' },
      { limitKey: 'of', concurrency: 1, quota: { limit: 1, perMs: MINUTE } },
    );
    await runtime.enqueue('plain', { of: 'a' });
    // Moved one by one, each to the end.
    expect(await ran(runtime)).toEqual([{ of: 'a' }, 0]);
    await runtime.advance(MINUTE);
    expect(await ran(runtime)).toEqual([1]);
  });

  const REFUSED: readonly [scope: unknown, rule: unknown, code: string, text: string][] = [
    ['all', {}, 'ERR_MILLRACE_INVALID_ARGUMENT', 'scope must be'],
    [{}, {}, 'ERR_MILLRACE_INVALID_ARGUMENT', 'scope must be'],
    [{ key: 'a' }, {}, 'ERR_MILLRACE_INVALID_ARGUMENT', 'scope must be'],
    [{ queue: 'a', task: 'b' }, {}, 'ERR_MILLRACE_INVALID_ARGUMENT', 'scope must be'],
    [{ task: 'a', tenant: 'b' }, {}, 'ERR_MILLRACE_INVALID_ARGUMENT', 'scope must be'],
    [{ queue: 'a b' }, {}, 'ERR_MILLRACE_INVALID_NAME', 'queue'],
    [{ task: 'a', key: 5 }, {}, 'ERR_MILLRACE_INVALID_ARGUMENT', 'scope.key must be a key'],
    ['runtime', { weight: 2 }, 'ERR_MILLRACE_UNKNOWN_OPTION', 'rule.weight'],
    [{ task: 'a', key: 'b' }, { limitKey: 'c' }, 'ERR_MILLRACE_UNKNOWN_OPTION', 'rule.limitKey'],
    [{ task: 'a' }, { concurrency: 0 }, 'ERR_MILLRACE_INVALID_ARGUMENT', 'rule.concurrency must be'],
    [
      { task: 'a' },
      { tokenBucket: { capacity: 1 } },
      'ERR_MILLRACE_INVALID_ARGUMENT',
      'rule.tokenBucket.refillPerSec',
    ],
    [{ task: 'a' }, null, 'ERR_MILLRACE_INVALID_ARGUMENT', 'rule must be a plain object'],
  ];
  for (const [scope, rule, code, text] of REFUSED) {
    it(`refuses ${JSON.stringify(rule)} for ${JSON.stringify(scope)}, storing nothing`, async () => {
      const runtime = await openTest();
      const error = await rejection(runtime.limits.set(scope as LimitScope, rule as object));
      expect(error.code).toBe(code);
      expect(error.message).toContain(text);
      expect((await runtime.limits.list()).filter(({ set }) => set !== undefined)).toEqual([]);
    });
  }
});

describe('with threads', () => {
  it('never runs more of a key than it may, and goes on when one ends', async () => {
    const gate = new Gate();
    const runtime = await openLimited('memory:', { services: gate.services });
    const handles = [];
    for (let count = 0; count < 6; count++) {
      handles.push(await runtime.enqueue('guarded', { tenant: { id: 'a' }, key: 'a' }));
    }
    await gate.reached('a', 2);
    expect(await runtime.run('free', 'others go on')).toBe('others go on');
    await gate.settle();
    expect(gate.count('a')).toBe(2);
    gate.open('a');
    for (const handle of handles) expect(await handle.result()).toBe(1);
    expect(gate.most('a')).toBe(2);
  });

  it('starts no second one before the thread of the first has ended', async () => {
    const order: string[] = [];
    const services = { begins: (_call: unknown, key: string) => void order.push(`${key} begins`) };
    const runtime = await openLimited('memory:', { services });
    const listening = (async () => {
      for await (const event of runtime.events({ kinds: ['thread'] })) {
        if (event.kind === 'thread' && event.event === 'exited') order.push('its thread has ended');
      }
    })();
    const handles = await Promise.all(['a', 'b'].map((key) => runtime.enqueue('stubborn', key)));
    for (const handle of handles) expect(await handle.result()).toBe(2);
    expect(order).toEqual(['a begins', 'its thread has ended', 'b begins', 'its thread has ended']);
    await runtime.stop({ graceMs: 0, killMs: 0 });
    await listening;
  });

  it('holds a concurrency that is lowered at once for those that run', async () => {
    const gate = new Gate();
    const runtime = await openLimited('memory:', { services: gate.services });
    for (let count = 0; count < 3; count++) {
      await runtime.enqueue('guarded', { tenant: { id: count }, key: 'before' });
    }
    await gate.reached('before', 3);
    await runtime.limits.set('runtime', { concurrency: 1 });
    const next = await runtime.enqueue('guarded', { tenant: { id: 'next' }, key: 'after' });
    gate.open('before');
    await gate.reached('after');
    expect(gate.count('after')).toBe(1);
    gate.open('after');
    expect(await next.result()).toBe(1);
  });
});

describe('in a folder', () => {
  it('counts on after a restart, and keeps what was set from a client', async () => {
    const backend = freshBackend('lmdb');
    const first = await openLimited(backend, { autostart: false });
    const client = (await openTestClient(backend)) as unknown as Runtime<typeof fixtures>;
    await client.limits.set(
      { task: 'paced', key: 'b' },
      { tokenBucket: { capacity: 1, refillPerSec: 1 / 60 } },
    );
    expect(await rejection(client.limits.set('all' as 'runtime', {}))).toMatchObject({
      code: 'ERR_MILLRACE_INVALID_ARGUMENT',
    });
    for (const id of ['a', 'a', 'a', 'a', 'b', 'b']) await client.enqueue('paced', of(id));
    first.start();
    await completed(first, 4);
    await first.stop({ graceMs: 0, killMs: 0 });
    const second = await openLimited(backend);
    expect((await second.limits.list()).filter(({ set }) => set !== undefined)).toHaveLength(1);
    await second.enqueue('paced', of('c'));
    await completed(second, 5);
    expect((await second.counts()).get('default')).toMatchObject({ ready: 2, completed: 5 });
    expect(await client.limits.remove({ task: 'paced', key: 'b' })).toBe(true);
    await client.limits.set({ task: 'paced' }, { tokenBucket: { capacity: 5, refillPerSec: 1_000 } });
    await completed(second, 7);
  });

  it('sends tasks that a caretaker accepts to the lanes of their keys', async () => {
    const backend = freshBackend('lmdb');
    await (await openLimited(backend)).stop({ graceMs: 0, killMs: 0 });
    const client = (await openTestClient(backend)) as unknown as Runtime<typeof fixtures>;
    for (const id of ['a', 'a', 'a', 'a', 'b']) await client.enqueue('paced', of(id));
    const runtime = await openLimited(backend);
    await completed(runtime, 4);
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 1, completed: 4 });
  });
});

async function completed(runtime: Pick<Runtime, 'events' | 'counts'>, count: number): Promise<void> {
  const events = runtime.events({ kinds: ['completed'] });
  while (((await runtime.counts()).get('default')?.completed ?? 0) < count) await events.next();
  await events.return?.();
}
