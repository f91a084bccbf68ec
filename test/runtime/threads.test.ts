/** Threads and what they load: resizing, registering, recycling, opening before they are there. */
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Runtime } from '#src/index.js';
import { fixture, freshBackend, freshFolder, Gate, nextEvent, open, RUNTIMES, rejection } from './harness.js';

describe.each(RUNTIMES)('resize (%s)', (kind) => {
  it('gives more threads, which take over what waits', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const held = Array.from({ length: 3 }, () => runtime.run('hold', 'a'));
    await gate.reached('a');
    await runtime.resize(3);
    await gate.reached('a', 3);
    gate.open('a');
    expect(await Promise.all(held)).toEqual(['a', 'a', 'a']);
  });

  it('takes threads away when they are idle, without disturbing what runs', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 3, services: gate.services });
    const held = Array.from({ length: 3 }, () => runtime.run('hold', 'a'));
    await gate.reached('a', 3);
    const resized = runtime.resize(1);
    const rest = Array.from({ length: 50 }, (_, at) => runtime.run('echo', at));
    gate.open('a');
    await Promise.all([resized, ...held]);
    expect(await Promise.all(rest)).toEqual(Array.from({ length: 50 }, (_, at) => at));
    const threads = await Promise.all(Array.from({ length: 50 }, () => runtime.run('threadOf', undefined)));
    expect(new Set(threads).size).toBe(1);
  });

  it('up and down under load loses nothing and charges nobody', async () => {
    const runtime = await open(kind, { threads: 2 });
    const handles = await Promise.all(
      Array.from({ length: 2_000 }, (_, at) => runtime.enqueue('sum', [at, 1])),
    );
    for (const threads of [4, 1, 3, 1, 2]) await runtime.resize(threads);
    const results = await Promise.all(handles.map((handle) => handle.result()));
    expect(results).toEqual(Array.from({ length: 2_000 }, (_, at) => at + 1));
    const { tasks } = await runtime.list({ state: 'completed' }, { limit: 1_000 });
    for (const task of tasks) expect(task.attempts.length).toBe(1);
  });
});

describe.each(RUNTIMES)('a name that nobody handles (%s)', (kind) => {
  it('waits, visible as unhandled, before no other, until a module with it is registered', async () => {
    const runtime = await open(kind, { threads: 1 });
    const loose = runtime as Runtime;
    const waiting = await loose.enqueue('late', 21, { priority: 9 });
    expect(await loose.run('sum', [1, 2])).toBe(3);
    expect((await loose.counts()).get('default')).toMatchObject({ ready: 1, unhandled: 1, running: 0 });
    expect(await loose.get(waiting.id)).toMatchObject({ state: 'ready', unhandled: true, attempts: [] });
    await loose.whenIdle();
    await loose.register(fixture('runtime-more-tasks'));
    expect(await waiting.result()).toBe(42);
    expect((await loose.counts()).get('default')).toMatchObject({ ready: 0, unhandled: 0, completed: 2 });
    expect(await loose.run('late', 1)).toBe(2);
  });

  it('can be cancelled while it waits', async () => {
    const runtime = (await open(kind, { threads: 1 })) as Runtime;
    const handle = await runtime.enqueue('nobody', 1);
    expect(await handle.cancel()).toBe(true);
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 0, unhandled: 0, cancelled: 1 });
  });

  it('is taken by a pattern that fits it', async () => {
    const runtime = (await open(kind, { threads: 1 })) as Runtime;
    expect(await runtime.run('images.crop', 5)).toEqual(['images.crop', 5]);
  });
});

describe('a module that is registered', () => {
  it('is loaded by replaced and added threads too', async () => {
    const runtime = (await open('memory', { threads: 1 })) as Runtime;
    await runtime.register(fixture('runtime-more-tasks'));
    await rejection(runtime.run('exits', { code: 1 }, { maxCrashes: 1 }));
    expect(await runtime.run('late', 2)).toBe(4);
    await runtime.resize(3);
    const all = await Promise.all(Array.from({ length: 60 }, (_, at) => runtime.run('late', at)));
    expect(all.at(-1)).toBe(118);
  });

  it('which cannot be loaded changes nothing', async () => {
    const runtime = (await open('memory', { threads: 1 })) as Runtime;
    const url = fixture('tasks-modules/throws');
    expect(await rejection(runtime.register(url))).toMatchObject({ code: 'ERR_MILLRACE_TASKS_MODULE' });
    expect(await runtime.run('sum', [1, 2])).toBe(3);
    await rejection(runtime.run('exits', { code: 1 }, { maxCrashes: 1 }));
    expect(await runtime.run('sum', [1, 2])).toBe(3);
  });

  it('by several modules given to openRuntime, all names are known', async () => {
    const tasks = [fixture('runtime-tasks'), fixture('runtime-more-tasks')];
    const runtime = (await open('memory', { threads: 1, tasks })) as Runtime;
    expect(await Promise.all([runtime.run('sum', [1]), runtime.run('late', 1)])).toEqual([1, 2]);
  });
});

describe('after a restart', () => {
  it('tasks whose handler has gone wait, and run when it is back', async () => {
    const backend = freshBackend('lmdb');
    const tasks = [fixture('runtime-tasks'), fixture('runtime-more-tasks')];
    const first = (await open(backend, { threads: 1, tasks, autostart: false })) as Runtime;
    const handles = await Promise.all(Array.from({ length: 20 }, (_, at) => first.enqueue('late', at)));
    const plain = await first.enqueue('sum', [1]);
    await first.stop();
    const second = await open(backend, { threads: 1 });
    expect(await second.handle(plain.id).result()).toBe(1);
    expect((await second.counts()).get('default')).toMatchObject({ ready: 20, unhandled: 20 });
    await second.stop();
    const third = await open(backend, { threads: 1, tasks });
    const results = await Promise.all(handles.map(({ id }) => third.handle(id).result()));
    expect(results).toEqual(Array.from({ length: 20 }, (_, at) => at * 2));
    expect((await third.counts()).get('default')).toMatchObject({ ready: 0, unhandled: 0, completed: 21 });
  });

  it('nothing is left to do but what nobody here handles or serves: `whenIdle` resolves', async () => {
    const backend = freshBackend('lmdb');
    const tasks = [fixture('runtime-tasks'), fixture('runtime-more-tasks')];
    const first = (await open(backend, { threads: 1, tasks, autostart: false })) as Runtime;
    await Promise.all(Array.from({ length: 20 }, (_, at) => first.enqueue('late', at)));
    await first.enqueue('media', 1);
    await first.stop();
    const second = await open(backend, { threads: 1, serve: ['default'], autostart: false });
    const idle = second.whenIdle();
    second.start();
    await idle;
    expect((await second.counts()).get('default')).toMatchObject({ ready: 20, unhandled: 20 });
    expect((await second.counts()).get('media')).toMatchObject({ ready: 1 });
    await second.whenIdle();
  });

  it('with `waitForTasks: false` opens with the names of the last life', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend, { threads: 1 });
    await first.stop();
    const second = await open(backend, { threads: 1, waitForTasks: false });
    const handle = await second.enqueue('media', 1);
    expect(await second.get(handle.id)).toMatchObject({ queue: 'media', priority: 7, unhandled: false });
    expect(await handle.result()).toBe(1);
  });
});

describe('`waitForTasks: false`', () => {
  it('opens a new store before any name is known; tasks run when it is', async () => {
    const runtime = await open(freshBackend('lmdb'), { threads: 1, waitForTasks: false });
    expect(await runtime.run('sum', [1, 2])).toBe(3);
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')).toMatchObject({ unhandled: 0, completed: 1 });
  });

  it('opens although the module throws: says so once, and its tasks wait for a better one', async () => {
    const backend = freshBackend('lmdb');
    const path = join(freshFolder(), 'module.mjs');
    writeFileSync(path, "throw new Error('not yet')");
    const errors: unknown[] = [];
    let told!: () => void;
    const isTold = new Promise<void>((resolve) => {
      told = resolve;
    });
    const error = (...line: unknown[]): void => {
      errors.push(line);
      told();
    };
    const logger = { debug() {}, info() {}, warn() {}, error };
    const options = { threads: 1, tasks: pathToFileURL(path) };
    const first = (await open(backend, { ...options, waitForTasks: false, logger })) as Runtime;
    const { id } = await first.enqueue('late', 4);
    await isTold;
    expect(errors.length).toBe(1);
    expect(JSON.stringify(errors)).toContain('not yet');
    expect((await first.counts()).get('default')).toMatchObject({ ready: 1, unhandled: 1 });
    await first.stop();
    copyFileSync(fixture('runtime-more-tasks'), path);
    const second = (await open(backend, options)) as Runtime;
    expect(await second.handle(id).result()).toBe(8);
  });
});

describe('a runtime that is stopped while it opens', () => {
  it('logs no error', async () => {
    const errors: unknown[] = [];
    const logger = {
      debug() {},
      info() {},
      warn() {},
      error: (...line: unknown[]) => void errors.push(line),
    };
    const runtime = await open('memory', { threads: 2, waitForTasks: false, logger });
    await runtime.stop();
    expect(errors).toEqual([]);
  });
});

describe('`autostart: false`', () => {
  it('accepts tasks and starts none before `start`, which may be called twice', async () => {
    const runtime = await open('memory', { threads: 1, autostart: false });
    const handle = await runtime.enqueue('sum', [1, 2]);
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 1, running: 0 });
    runtime.start();
    runtime.start();
    expect(await handle.result()).toBe(3);
  });

  it('keeps retries and delays waiting too', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend, { threads: 1, autostart: false });
    const { id } = await first.enqueue('sum', [1], { delayMs: 100 });
    await first.stop();
    const second = await open(backend, { threads: 1, autostart: false });
    expect(await second.handle(id).state()).toBe('scheduled');
    second.start();
    expect(await second.handle(id).result()).toBe(1);
  });
});

describe('a thread', () => {
  it('is replaced after so many tasks, without a failure', async () => {
    const runtime = await open('memory', { threads: 1, recycle: { tasks: 50 } });
    const recycled = nextEvent(runtime, 'thread', {}, ({ event }) => event === 'recycled');
    const threads = await Promise.all(Array.from({ length: 200 }, () => runtime.run('threadOf', undefined)));
    await recycled;
    threads.push(await runtime.run('threadOf', undefined));
    expect(new Set(threads).size).toBeGreaterThan(1);
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: 201, dead: 0 });
  });

  it('gets the environment and the arguments it is given', async () => {
    const execArgv = ['--no-warnings'];
    const runtime = await open('memory', { threads: 1, env: { RUNTIME_TEST: 'yes' }, execArgv });
    const seen = await runtime.run('surroundings', undefined);
    expect(seen.env).toBe('yes');
    expect(seen.execArgv).toEqual(execArgv);
  });
});
