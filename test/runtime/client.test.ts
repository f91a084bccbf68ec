/** What only a client does, and a runtime that joins: beyond the calls that they share with every runtime. */
import { readdirSync } from 'node:fs';
import type net from 'node:net';
import { describe, expect, it } from 'vitest';
import { DisconnectedError, openClient, StoppedError, TooLargeError } from '#src/index.js';
import { takeOwnership } from '#src/owner/ownership.js';
import { PROTOCOL } from '#src/remote/protocol.js';
import { frameOf } from '#src/wire/frames.js';
import { Child } from './child.js';
import { fixture, freshBackend, open, openTestClient, rejection } from './harness.js';

/** Settled or not, some turns later. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true;
  const settled = (): void => {
    pending = false;
  };
  promise.then(settled, settled);
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
  return pending;
}

describe('an owner that says and takes nothing', () => {
  it('holds nobody who leaves, before its greeting or after it', async () => {
    const backend = freshBackend('lmdb');
    const owner = await takeOwnership(backend, { ifLocked: 'fail' });
    const sockets: net.Socket[] = [];
    const welcome = {
      ...{ kind: 'welcome', protocol: PROTOCOL, role: 'runtime', handlers: [], codecs: {} },
      ...{ maxPayloadBytes: 1_000, maxBufferBytes: 1_000 },
    };
    const aborting = new AbortController();
    const early = rejection(openTestClient(backend, { signal: aborting.signal }));
    const connected = new Promise<void>((resolve) => {
      owner.onConnection((socket) => {
        sockets.push(socket);
        if (sockets.length > 1) socket.write(frameOf(welcome));
        resolve();
      });
    });
    await connected;
    aborting.abort(new Error('enough'));
    expect((await early).message).toBe('enough');
    const client = await openTestClient(backend);
    const asked = rejection(client.counts());
    await client.close();
    expect((await asked).code).toMatch(/^ERR_MILLRACE_(DISCONNECTED|STOPPED)$/);
    for (const socket of sockets) socket.destroy();
    await owner.release();
  });
});

describe('openClient', () => {
  it.each(['memory:', 'immediate:', 'dummy:'])(
    'refuses %s, which is inside of one process',
    async (backend) => {
      expect(await rejection(openClient({ backend }))).toMatchObject({
        code: 'ERR_MILLRACE_INVALID_ARGUMENT',
        message: expect.stringContaining('options.backend must be a folder'),
      });
    },
  );

  it('refuses what a client has no use for, by name', async () => {
    const options = { backend: freshBackend('lmdb'), threads: 2 } as never;
    expect(await rejection(openClient(options))).toMatchObject({ code: 'ERR_MILLRACE_UNKNOWN_OPTION' });
  });

  it('refuses an aborted signal, and a store that is none, with nothing left behind', async () => {
    const backend = freshBackend('lmdb');
    const signal = AbortSignal.abort(new Error('enough'));
    expect((await rejection(openTestClient(backend, { signal }))).message).toBe('enough');
    const file = fixture('runtime-tasks').pathname;
    expect((await rejection(openTestClient(file))).code).toMatch(/^ERR_MILLRACE_STORE_/);
  });

  it('keeps the process alive until it is closed or let go', async () => {
    const backend = freshBackend('lmdb');
    const closed = new Child('runtime-child', 'client closed', backend);
    expect(await closed.line('enqueued')).toBe('enqueued');
    expect(await closed.ended).toBe(0);
    const letGo = new Child('runtime-child', 'client unref', backend);
    expect(await letGo.ended).toBe(0);
    const kept = new Child('runtime-child', 'client keeps', backend);
    await kept.line('open');
    expect(kept.process.exitCode).toBeNull();
  });
});

describe('a client', () => {
  it('encodes a payload when it is given, whatever its owner does to it afterwards', async () => {
    const backend = freshBackend('lmdb');
    const runtime = await open(backend);
    const client = await openTestClient(backend);
    const payload = { n: [1] };
    const first = client.run('echo', payload);
    payload.n[0] = 2;
    expect(await first).toEqual({ n: [1] });
    await runtime.stop();
    // Nobody owns the folder now, for a moment.
    const data = new Uint8Array([1, 2, 3]);
    const second = client.enqueue('echo', { payload, data }, { transfer: [data.buffer] });
    payload.n[0] = 3;
    expect(data.length).toBe(0);
    const { id } = await second;
    const next = await open(backend);
    expect(await next.handle(id).result()).toEqual({ payload: { n: [2] }, data: new Uint8Array([1, 2, 3]) });
  });

  it('has what it enqueues in one turn placed in that order, and batches as a whole', async () => {
    const backend = freshBackend('lmdb');
    const runtime = await open(backend, { threads: 1, autostart: false });
    const client = await openTestClient(backend);
    const handles = await Promise.all(Array.from({ length: 2_500 }, (_, at) => client.enqueue('echo', at)));
    const batch = await client.enqueueBatch(
      Array.from({ length: 5_000 }, (_, at) => ({ name: 'echo' as const, payload: 2_500 + at })),
    );
    const bad = client.enqueueBatch([
      ...Array.from({ length: 3_000 }, () => ({ name: 'echo' as const, payload: 1 })),
      { name: 'echo', payload: 'x'.repeat(2 ** 21) },
    ]);
    expect(await rejection(bad)).toBeInstanceOf(TooLargeError);
    expect((await client.counts()).get('default')?.ready).toBe(7_500);
    const started: unknown[] = [];
    const completed = runtime.events({ kinds: ['completed'], bound: 10_000 });
    runtime.start();
    await client.whenIdle();
    while (started.length < 7_500)
      started.push(((await completed.next()).value as { taskId: string }).taskId);
    expect(started).toEqual([...handles, ...batch].map(({ id }) => id));
  });

  it('that is closed rejects what waits, and asks nothing any more', async () => {
    const backend = freshBackend('lmdb');
    const runtime = await open(backend, { autostart: false });
    const client = await openTestClient(backend);
    const handle = await client.enqueue('sum', [1, 2]);
    const waiting = rejection(handle.result());
    const events = client.events();
    await client.close();
    expect(await waiting).toBeInstanceOf(StoppedError);
    expect(await events.next()).toEqual({ done: true, value: undefined });
    for (const call of [() => client.enqueue('sum', [1]), () => client.counts(), () => handle.state()]) {
      expect(await rejection(call())).toBeInstanceOf(StoppedError);
    }
    runtime.start();
    expect(await runtime.handle(handle.id).result()).toBe(3);
  });

  it('is closed by its signal, and by `await using`', async () => {
    const backend = freshBackend('lmdb');
    await open(backend);
    const controller = new AbortController();
    const client = await openTestClient(backend, { signal: controller.signal });
    controller.abort();
    await client.close();
    expect(await rejection(client.counts())).toBeInstanceOf(StoppedError);
    {
      await using other = await openTestClient(backend);
      expect(await other.run('sum', [1])).toBe(1);
    }
  });

  it('sends an enqueue once: with the answer lost it says that it may have happened', async () => {
    const backend = freshBackend('lmdb');
    const runtime = await open(backend, { autostart: false });
    const client = await openTestClient(backend);
    const before = await client.enqueue('sum', [1]);
    // Sent in this turn; the runtime ends before it has read it.
    const lost = client.enqueue('sum', [1, 2]);
    await Promise.all([runtime.stop(), rejectionOrValue(lost)]).then(async ([, outcome]) => {
      if (outcome instanceof Error) expect(outcome).toBeInstanceOf(DisconnectedError);
      else expect(await client.get(outcome.id)).toMatchObject({ name: 'sum' });
    });
    expect(await client.get(before.id)).toMatchObject({ name: 'sum', state: 'ready' });
  });

  it('goes on listening, paused queues stay paused, from one owner to the next', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend);
    const client = await openTestClient(backend);
    const completed = client.events({ kinds: ['completed'] });
    await client.pause('media');
    await client.run('sum', [1]);
    const held = await client.enqueue('media', 1);
    await first.stop();
    const second = await open(backend);
    await client.run('sum', [2]);
    expect(await isPending(held.result())).toBe(true);
    await client.resume('media');
    expect(await held.result()).toBe(1);
    const names = [];
    for (let at = 0; at < 3; at++) names.push(((await completed.next()).value as { name: string }).name);
    expect(names).toEqual(['sum', 'sum', 'media']);
    await second.stop();
  });
});

describe('a runtime that joins', () => {
  it('is the owner of a folder without one', async () => {
    const runtime = await open('lmdb', { ifLocked: 'join' });
    expect(await runtime.run('sum', [1, 2])).toBe(3);
    expect(await runtime.stop()).toEqual({ settled: 0, released: 0, lostThreads: 0 });
  });

  it('in memory is like any other', async () => {
    expect(await (await open('memory', { ifLocked: 'join' })).run('sum', [1, 2])).toBe(3);
  });

  it('has the owner run its tasks, and runs them when that has stopped', async () => {
    const backend = freshBackend('lmdb');
    const owner = await open(backend, { threads: 1 });
    const joined = await open(backend, { threads: 1, ifLocked: 'join', autostart: false });
    expect(await joined.run('sum', [1, 2])).toBe(3);
    await joined.register(fixture('runtime-more-tasks'));
    const handle = await joined.enqueue('sum', [2, 2], { delayMs: 1 });
    await owner.stop();
    expect(await isPending(joined.enqueue('late' as never, 4 as never).then((more) => more.result()))).toBe(
      true,
    );
    joined.start();
    expect(await handle.result()).toBe(4);
    await joined.whenIdle();
    expect((await joined.counts()).get('default')?.completed).toBe(3);
  });

  it('that stops while it stands by leaves the owner alone', async () => {
    const backend = freshBackend('lmdb');
    const owner = await open(backend);
    const joined = await open(backend, { ifLocked: 'join' });
    const report = joined.stop();
    expect(joined.stop()).toBe(report);
    expect(await report).toEqual({ settled: 0, released: 0, lostThreads: 0 });
    expect(await rejection(joined.enqueue('sum', [1]))).toBeInstanceOf(StoppedError);
    expect(await rejection(joined.register(fixture('runtime-more-tasks')))).toBeInstanceOf(StoppedError);
    expect(await owner.run('sum', [1])).toBe(1);
    expect(readdirSync(backend).filter((name) => /^epoch-\d+$/.test(name))).toEqual(['epoch-1']);
  });

  it.each(['wait', 'join'] as const)(
    'or waits (%s) and whose module throws is not opened',
    async (ifLocked) => {
      const backend = freshBackend('lmdb');
      const owner = await open(backend);
      const tasks = fixture('tasks-modules/throws');
      const failed = await rejection(open(backend, { ifLocked, tasks }));
      expect(failed.code).toBe('ERR_MILLRACE_TASKS_MODULE');
      expect(await owner.run('sum', [1])).toBe(1);
    },
  );

  it.each(['wait', 'join'] as const)('or waits (%s) ends with its signal', async (ifLocked) => {
    const backend = freshBackend('lmdb');
    const owner = await open(backend);
    const controller = new AbortController();
    const opening = rejection(open(backend, { ifLocked, signal: controller.signal, autostart: false }));
    controller.abort(new Error('enough'));
    expect((await opening).message).toBe('enough');
    expect(await owner.run('sum', [1])).toBe(1);
  });
});

function rejectionOrValue<Value>(promise: Promise<Value>): Promise<Value | Error> {
  return promise.catch((error: Error) => error);
}
