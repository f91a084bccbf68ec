/** What flows do by themselves, and what the loops around them make of it: due times, idleness, events. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ManualClock, type Runtime, type RuntimeEvent } from '#src/index.js';
import { openTestRuntime } from '#src/testing/index.js';
import * as tasks from '../../dist/test/fixtures/flow-tasks.js';
import {
  fixture,
  freshBackend,
  Gate,
  open,
  openTestClient,
  RUNTIMES,
  rejection,
  type TestOptions,
} from './harness.js';

type FlowRuntime = Runtime<typeof tasks>;
/** More than one commit lets go. */
const MANY = 1_500;
/** Each of them would wait for each of a thousand that are added: too many edges. */
const CHILDREN = 101;

async function openFlows(where: string, options: TestOptions = {}): Promise<FlowRuntime> {
  return (await open(where, {
    tasks: fixture('flow-tasks'),
    threads: 1,
    ...options,
  })) as unknown as FlowRuntime;
}

describe.each(RUNTIMES)('what a flow does by itself (%s)', (kind) => {
  it('runs what is for later when it is due, also when it was let go after an earlier one was', async () => {
    const gate = new Gate();
    const clock = new ManualClock();
    const runtime = await openFlows(kind, { clock, services: gate.services });
    const flow = await runtime.flow((f) => {
      const first = f.task('hold', 'door');
      return { later: f.task('echo', 'later', { after: { first }, delayMs: 2_000 }) };
    });
    const other = await runtime.enqueue('echo', 'other', { delayMs: 1_000, queue: 'other' });
    await gate.reached('door');
    clock.advance(1_000);
    gate.open('door');
    expect(await other.result()).toBe('other');
    while ((await flow.handles.later.state()) !== 'scheduled') await new Promise(setImmediate);
    clock.advance(1_000);
    expect(await flow.handles.later.result()).toBe('later');
  });

  it('lets who waits for idleness go when the last of many has failed with its parent', async () => {
    const runtime = await openFlows(kind, { services: { fails: () => true } });
    const flow = await runtime.flow((f) => {
      const page = f.task('fragile', 'page');
      for (let at = 0; at < MANY; at++) f.task('echo', at, { after: { page } });
    });
    await runtime.whenIdle();
    expect(await flow.progress()).toMatchObject({ total: MANY + 1, dead: MANY + 1, blocked: 0 });
  });

  it('is told to listeners: members that fail with a parent, or are cancelled, and its end', async () => {
    const runtime = await openFlows(kind, { services: { fails: () => true } });
    const heard = listen(runtime);
    const dying = await runtime.flow((f) => {
      f.chain(f.task('fragile', 'page'), f.task('echo', 1));
    });
    await heard.until((event) => event.kind === 'flow');
    const cancelled = await runtime.flow((f) => {
      f.chain(f.task('echo', 2, { delayMs: 60_000 }), f.task('echo', 3));
    });
    await cancelled.cancel();
    await heard.until((event) => event.kind === 'flow' && event.flowId === cancelled.id);
    expect(heard.events.map(({ at: _at, ...event }) => event)).toEqual([
      expect.objectContaining({ kind: 'dead', name: 'fragile', reason: 'not-retryable' }),
      expect.objectContaining({ kind: 'dead', name: 'echo', queue: 'default', reason: 'parent-dead' }),
      { kind: 'flow', flowId: dying.id, state: 'dead', total: 2, completed: 0, dead: 2, cancelled: 0 },
      expect.objectContaining({ kind: 'cancelled', name: 'echo', reason: 'cancelled' }),
      expect.objectContaining({ kind: 'cancelled', name: 'echo', reason: 'cancelled' }),
      {
        kind: 'flow',
        flowId: cancelled.id,
        state: 'cancelled',
        total: 2,
        completed: 0,
        dead: 0,
        cancelled: 2,
      },
    ]);
  });

  it('is nothing once the runtime is stopped: no flow comes in, and none can be asked for', async () => {
    const runtime = await openFlows(kind, { autostart: false });
    const flow = await runtime.flow((f) => void f.task('echo', 1));
    const waiting = rejection(flow.settled());
    await runtime.stop();
    const more = runtime.flow((f) => void f.task('echo', 2));
    for (const refused of [
      waiting,
      rejection(more),
      rejection(flow.state()),
      rejection(runtime.flows.list()),
    ]) {
      expect(await refused).toMatchObject({ code: 'ERR_MILLRACE_STOPPED' });
    }
  });

  it('any number of small ones may come at once', async () => {
    const runtime = await openFlows(kind, { autostart: false });
    const flows = await Promise.all(
      Array.from({ length: 100 }, (_, at) =>
        runtime.flow((f) => void f.chain(f.task('echo', at), f.task('echo', 'next'))),
      ),
    );
    expect(new Set(flows.map(({ id }) => id)).size).toBe(100);
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 100, blocked: 100 });
  });
});

describe('large flows that are refused', () => {
  it('make room for others in the line', async () => {
    const runtime = await openFlows('memory', { autostart: false, maxWaiting: 1 });
    for (let at = 0; at < 5; at++) {
      const large = runtime.flow(
        (f) => void f.group(Array.from({ length: 20_001 }, () => f.task('echo', 0))),
      );
      expect(await rejection(large)).toMatchObject({ code: 'ERR_MILLRACE_QUEUE_FULL', limit: 1 });
    }
  });
});

describe('a member whose settlement is refused by its flow', () => {
  it('is told of as it has ended: it added too many', async () => {
    const runtime = await openFlows('memory');
    const heard = listen(runtime);
    await runtime.flow((f) => {
      const grows = f.task('grows', 1_000);
      for (let at = 0; at < CHILDREN; at++) f.task('echo', at, { after: { grows } });
    });
    await heard.until((event) => event.kind !== 'flow');
    expect(heard.events).toMatchObject([{ kind: 'dead', name: 'grows', reason: 'flow-full' }]);
  });
});

describe('a flow in child processes', () => {
  it('reads the results of its parents there, large ones from their files', { timeout: 30_000 }, async () => {
    const runtime = await openFlows('lmdb');
    const flow = await runtime.flow((f) => {
      const parts = Array.from({ length: 20 }, (_, value) => f.task('fill', { bytes: 65_536, value }));
      return { all: f.task('weigh', undefined, { after: { all: f.group(parts) }, isolation: 'process' }) };
    });
    expect(await flow.handles.all.result()).toBe(20 * 65_536);
  });
});

describe('large payloads of a flow', () => {
  it('are in files, which go with a flow that is refused or deleted', async () => {
    const backend = freshBackend('lmdb');
    const runtime = await openFlows(backend);
    const files = (): readonly string[] => readdirSync(join(backend, 'blobs'));
    const large = new Uint8Array(1_200_000).fill(7);
    const unknown = `${'v'.repeat(25)}g`;
    const refused = runtime.flow((f) => {
      f.task('echo', large);
      f.task('echo', large, { after: { unknown } });
    });
    expect(await rejection(refused)).toMatchObject({ code: 'ERR_MILLRACE_UNKNOWN_TASK' });
    while (files().length > 0) await new Promise(setImmediate);

    const flow = await runtime.flow((f) => {
      const all = f.group([f.task('echo', large), f.task('echo', large)]);
      return { all: f.task('weigh', undefined, { after: { all } }) };
    });
    expect(await flow.handles.all.result()).toBe(2 * large.length);
    expect(files().length).toBeGreaterThan(0);
    await flow.settled();
    await runtime.flows.delete(flow.id);
    while (files().length > 0) await new Promise(setImmediate);
  });
});

describe('a flow for a client without an owner', () => {
  it('is accepted by it as a caretaker, and runs when a runtime comes', async () => {
    const backend = freshBackend('lmdb');
    const caretaker = (await openTestClient(backend)) as unknown as FlowRuntime;
    const flow = await caretaker.flow((f) => {
      const pages = f.group([f.task('echo', 1), f.task('echo', 2)]);
      return { book: f.task('gather', { labels: ['pages'] }, { after: { pages } }) };
    });
    expect(await flow.progress()).toMatchObject({ total: 3, blocked: 1 });
    await openFlows(backend);
    expect(await flow.handles.book.result()).toEqual({ pages: [1, 2] });
    expect(await flow.settled()).toMatchObject({ state: 'completed' });
  });
});

describe('a flow in a test of those who write tasks', () => {
  it('runs task by task, and is kept as long as it says', async () => {
    await using runtime = await openTestRuntime({ tasks, services: { fails: () => false } });
    const flow = await runtime.flow(
      (f) => {
        const cover = f.task('echo', 'cover');
        const page = f.chain(f.task('echo', 'page', { delayMs: 1_000 }), f.task('fragile', 'edit'));
        return { book: f.task('gather', { labels: ['page', 'cover'] }, { after: { page, cover } }) };
      },
      { retentionMs: { completed: 5_000 } },
    );
    expect((await runtime.runAll()).map(({ name }) => name)).toEqual(['echo']);
    await runtime.advance(1_000);
    expect((await runtime.runAll()).map(({ name }) => name)).toEqual(['echo', 'fragile', 'gather']);
    expect(await flow.handles.book.result()).toEqual({ page: ['edit'], cover: ['cover'] });
    await runtime.advance(4_999);
    expect(await flow.state()).toBe('completed');
    await runtime.advance(1);
    expect(await rejection(flow.state())).toMatchObject({ code: 'ERR_MILLRACE_FLOW_EXPIRED' });
    expect(await rejection(flow.handles.book.result())).toMatchObject({
      code: 'ERR_MILLRACE_RESULT_EXPIRED',
    });
  });

  it('says how members have ended that a parent took with it', async () => {
    await using runtime = await openTestRuntime({ tasks });
    await runtime.flow((f) => void f.chain(f.task('echo', 1), f.task('gather', { labels: [] })));
    runtime.planFailure('echo', Object.assign(new Error('no'), { retryable: false }));
    await runtime.runAll();
    expect(await runtime.settled('gather')).toMatchObject([{ state: 'dead', reason: 'parent-dead' }]);
  });
});

/** Everything about how tasks and flows end, from now on. */
function listen(runtime: FlowRuntime) {
  const events: RuntimeEvent[] = [];
  const listening = runtime.events({ kinds: ['dead', 'cancelled', 'flow'] });
  return {
    events,
    /** Resolves when such an event has been told. */
    async until(isIt: (event: RuntimeEvent) => boolean): Promise<void> {
      for (;;) {
        const { value } = await listening.next();
        events.push(value);
        if (isIt(value)) return;
      }
    },
  };
}
