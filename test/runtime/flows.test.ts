/** Flows through the whole runtime: threads, stores, and a client at the other end of a socket. */
import { describe, expect, it } from 'vitest';
import type { FlowView, Runtime } from '#src/index.js';
import { parseId } from '#src/task/id.js';
import type * as tasks from '../fixtures/flow-tasks.js';
import {
  BACKENDS,
  type BackendKind,
  fixture,
  freshBackend,
  Gate,
  open,
  rejection,
  type TestOptions,
} from './harness.js';

type FlowRuntime = Runtime<typeof tasks>;
/** More than a page of parents. */
const MANY = 600;
/** More nodes than fit one commit. */
const LARGE = 20_500;
const LARGE_BYTES = 64 * 1024;

async function openFlows(
  where: BackendKind | (string & {}),
  options: TestOptions = {},
): Promise<FlowRuntime> {
  return (await open(where, {
    tasks: fixture('flow-tasks'),
    threads: 1,
    ...options,
  })) as unknown as FlowRuntime;
}

/** A gate, and keys whose tasks fail. */
class Host extends Gate {
  readonly failing = new Set<string>();
  readonly all = { ...this.services, fails: (_call: unknown, key: string): boolean => this.failing.has(key) };
}

describe.each(BACKENDS)('a flow (%s)', (kind) => {
  it('runs what comes after, with what came before', async () => {
    const runtime = await openFlows(kind);
    const flow = await runtime.flow((f) => {
      const pages = f.group([1, 2, 3].map((page) => f.task('echo', { page })));
      const cover = f.task('echo', 'cover');
      const book = f.task('gather', { labels: ['pages', 'cover'] }, { after: { pages, cover } });
      const end = f.chain(book, f.task('gather', { labels: ['previous'] }), f.task('echo', 'sold'));
      return { book, end };
    });
    const book = { pages: [{ page: 1 }, { page: 2 }, { page: 3 }], cover: ['cover'] };
    expect(await flow.handles.book.result()).toEqual(book);
    expect(await flow.handles.end.result()).toBe('sold');
    expect(await flow.settled()).toMatchObject({ state: 'completed', total: 7, completed: 7, dead: 0 });
  });

  it('gives the results of many, in the order of their group, whatever theirs was', async () => {
    const runtime = await openFlows(kind);
    const flow = await runtime.flow((f) => {
      const all = f.group(Array.from({ length: MANY }, (_, at) => f.task('echo', at, { priority: at % 10 })));
      const of = f.group([f.task('echo', 'a'), f.chain(f.task('echo', 'b'), f.task('echo', 'c'))]);
      const none = f.group([]);
      return { all, last: f.task('gather', { labels: ['all', 'of', 'none'] }, { after: { all, of, none } }) };
    });
    const numbers = Array.from({ length: MANY }, (_, at) => at);
    expect(await flow.handles.last.result()).toEqual({ all: numbers, of: ['a', 'c'], none: [] });
    expect(flow.handles.all.length).toBe(MANY);
    expect(await flow.handles.all[7]!.result()).toBe(7);
  });

  it('gives large results by reference', async () => {
    const runtime = await openFlows(kind);
    const flow = await runtime.flow((f) => {
      const parts = Array.from({ length: 40 }, (_, value) => f.task('fill', { bytes: LARGE_BYTES, value }));
      return { all: f.task('weigh', undefined, { after: { all: f.group(parts) } }) };
    });
    expect(await flow.handles.all.result()).toBe(40 * LARGE_BYTES);
  });

  it('waits for tasks enqueued earlier, whether they have ended or not', async () => {
    const host = new Host();
    const runtime = await openFlows(kind, { services: host.all });
    const done = await runtime.enqueue('echo', 'done');
    await done.result();
    const held = await runtime.enqueue('hold', 'door');
    await host.reached('door');
    const flow = await runtime.flow((f) => {
      const both = f.task('gather', { labels: ['held', 'done'] }, { after: { held, done: [done.id] } });
      return { both };
    });
    expect(await flow.progress()).toMatchObject({ total: 1, blocked: 1 });
    expect(await flow.handles.both.state()).toBe('blocked');
    host.open('door');
    expect(await flow.handles.both.result()).toEqual({ held: ['door'], done: ['done'] });
  });

  it('does with its children what each of them says when a parent dies', async () => {
    const host = new Host();
    host.failing.add('page');
    const runtime = await openFlows(kind, { services: host.all });
    const flow = await runtime.flow((f) => {
      const page = f.task('fragile', 'page');
      const fails = f.task('echo', 1, { after: { page } });
      const runs = f.task(
        'gather',
        { labels: ['page'], outcomes: true },
        { after: { page }, whenParentDies: 'run' },
      );
      const throws = f.task(
        'gather',
        { labels: ['page'] },
        { after: { page }, whenParentDies: 'run', maxAttempts: 1 },
      );
      const waits = f.task('gather', { labels: ['page'] }, { after: { page }, whenParentDies: 'wait' });
      return { page, fails, next: f.chain(fails, f.task('echo', 2)), runs, throws, waits };
    });
    const { page, fails, next, runs, throws, waits } = flow.handles;
    expect(await rejection(page.result())).toMatchObject({ code: 'ERR_MILLRACE_TASK_DEAD' });
    for (const handle of [fails, next]) {
      expect(await rejection(handle.result())).toMatchObject({ reason: 'parent-dead' });
    }
    expect(await runs.result()).toEqual({
      page: [
        {
          id: page.id,
          state: 'dead',
          reason: 'not-retryable',
          error: expect.objectContaining({ message: 'page broke' }),
        },
      ],
    });
    expect((await rejection(throws.result())).cause).toMatchObject({
      code: 'ERR_MILLRACE_TASK_DEAD',
      taskId: page.id,
      cause: { message: 'page broke' },
    });
    expect(await waits.state()).toBe('blocked');
    expect(await flow.state()).toBe('running');

    host.failing.clear();
    await runtime.redrive(page.id);
    expect(await waits.result()).toEqual({ page: ['page'] });
  });

  it('goes round again as a whole', async () => {
    const host = new Host();
    host.failing.add('page');
    const runtime = await openFlows(kind, { services: host.all });
    const flow = await runtime.flow((f) => {
      const pages = f.group([f.task('fragile', 'page'), f.task('fragile', 'other')]);
      return { book: f.chain(pages, f.task('gather', { labels: ['previous'] }), f.task('echo', 'end')) };
    });
    expect(await flow.settled()).toMatchObject({ state: 'dead', completed: 1, dead: 3, total: 4 });
    host.failing.clear();
    await flow.redrive();
    expect(await flow.handles.book.result()).toBe('end');
    expect(await flow.settled()).toMatchObject({ state: 'completed', completed: 4, dead: 0 });
    expect(await rejection(flow.redrive())).toMatchObject({ code: 'ERR_MILLRACE_WRONG_FLOW_STATE' });
  });

  it('grows by what its handlers add, for which waits what waits for them', async () => {
    const runtime = await openFlows(kind);
    const flow = await runtime.flow((f) => {
      const first = f.task('grows', 3);
      return { last: f.task('gather', { labels: ['first'] }, { after: { first } }) };
    });
    expect(await flow.handles.last.result()).toEqual({ first: ['grown', 0, 1, 2] });
    expect(await flow.settled()).toMatchObject({ total: 5, completed: 5 });
    expect((await flow.tasks()).tasks.map(({ name }) => name)).toEqual([
      'grows',
      'gather',
      'echo',
      'echo',
      'echo',
    ]);
  });

  it('is cancelled as a whole: what waits, what runs, and what is for later', async () => {
    const host = new Host();
    const runtime = await openFlows(kind, { services: host.all });
    const flow = await runtime.flow((f) => {
      const running = f.task('obeys', 'door');
      f.task('echo', 0);
      return {
        running,
        next: f.chain(running, f.task('echo', 1)),
        later: f.task('echo', 2, { delayMs: 60_000 }),
      };
    });
    await host.reached('door');
    expect(await flow.cancel()).toBe(true);
    const { running, next, later } = flow.handles;
    for (const handle of [running, next, later]) {
      expect(await rejection(handle.result())).toMatchObject({ code: 'ERR_MILLRACE_TASK_CANCELLED' });
    }
    expect(await flow.settled()).toMatchObject({ state: 'cancelled', total: 4 });
    expect(await flow.cancel()).toBe(false);
  });

  it('is found, listed and deleted by its id, and its tasks with it', async () => {
    const runtime = await openFlows(kind);
    const first = await runtime.flow(
      (f) => {
        const a = f.task('echo', 1);
        return { a, b: f.task('gather', { labels: ['x'] }, { after: { x: a } }) };
      },
      { name: 'first' },
    );
    const second = await runtime.flow((f) => void f.task('echo', 2));
    const { a, b } = first.handles;
    await Promise.all([first.settled(), second.settled()]);

    const view = (await runtime.flows.get(first.id)) as FlowView;
    expect(view).toMatchObject({ id: first.id, name: 'first', state: 'completed', total: 2 });
    expect(view.keys).toEqual(
      new Map([
        ['a', a.id],
        ['b', b.id],
      ]),
    );
    const { flows, after } = await runtime.flows.list({ limit: 1 });
    expect(flows.map(({ id }) => id)).toEqual([second.id]);
    expect((await runtime.flows.list({ after: after! })).flows.map(({ id }) => id)).toEqual([first.id]);

    const page = await first.tasks({ limit: 1 });
    expect(page.tasks).toMatchObject([{ id: a.id, payload: 1, result: 1, flow: first.id }]);
    expect((await first.tasks({ after: page.after! })).tasks.map(({ id }) => id)).toEqual([b.id]);
    expect((await runtime.get(b.id))?.after).toEqual([{ label: 'x', parents: [a.id] }]);

    await runtime.flows.delete(first.id);
    expect(await runtime.flows.get(first.id)).toBeUndefined();
    expect(await runtime.get(a.id)).toBeUndefined();
    const gone = runtime.flows.handle(first.id);
    const asked = [gone.state(), gone.progress(), gone.settled(), gone.tasks()];
    for (const error of await Promise.all(asked.map(rejection))) {
      expect(error).toMatchObject({ code: 'ERR_MILLRACE_FLOW_EXPIRED' });
    }
  });

  it('tells listeners of the tasks that it brings', async () => {
    const runtime = await openFlows(kind, { autostart: false });
    const events = runtime.events({ kinds: ['enqueued'] });
    await settleTurns();
    const flow = await runtime.flow((f) => {
      f.group([f.task('echo', 1)]).then(f.task('hold', 'x'));
    });
    const ids = (await flow.tasks()).tasks.map(({ id }) => id);
    for (const [at, name] of ['echo', 'hold'].entries()) {
      expect((await events.next()).value).toMatchObject({ kind: 'enqueued', name, taskId: ids[at] });
    }
    await events.return?.();
  });

  it('is awaited for so long, or until its waiter wants no more', async () => {
    const runtime = await openFlows(kind, { autostart: false });
    const flow = await runtime.flow((f) => void f.task('echo', 1));
    expect(await rejection(flow.settled({ timeoutMs: 1 }))).toMatchObject({
      code: 'ERR_MILLRACE_WAIT_TIMEOUT',
    });
    const reason = new Error('enough');
    await expect(flow.settled({ signal: AbortSignal.abort(reason) })).rejects.toThrow('enough');
    expect(await rejection(flow.settled({ timeout: 1 } as never))).toMatchObject({ nearest: 'timeoutMs' });
  });

  it('is checked by the schemas of the host, which may take their time', async () => {
    const validate = (value: unknown) =>
      typeof value === 'number' ? { value: value * 2 } : { issues: [{ message: 'no number' }] };
    const schema = (check: (value: unknown) => unknown) =>
      ({ '~standard': { version: 1, vendor: 'test', validate: check } }) as never;
    const hooks = {
      echo: { validate: schema(validate) },
      hold: { validate: schema(async (value) => validate(value)) },
    };
    const runtime = await openFlows(kind, { autostart: false, hooks });
    const flow = await runtime.flow((f) => {
      f.chain(f.task('echo', 1), f.task('hold', 2 as never));
    });
    expect((await flow.tasks()).tasks.map(({ payload }) => payload)).toEqual([2, 4]);
    for (const name of ['echo', 'hold'] as const) {
      const refused = runtime.flow((f) => void f.chain(f.task('echo', 1), f.task(name, 'text')));
      expect(await rejection(refused)).toMatchObject({
        code: 'ERR_MILLRACE_INVALID_PAYLOAD',
        taskName: name,
      });
    }
    expect((await runtime.flows.list()).flows.length).toBe(1);
  });

  it('lets nothing be seen of tasks that hide it', async () => {
    const runtime = await openFlows(kind, { autostart: false });
    const flow = await runtime.flow((f) => void f.task('echo', 'secret', { sensitive: true }));
    expect((await flow.tasks()).tasks).toMatchObject([{ payload: undefined, result: undefined }]);
  });
});

/** Those of clients are in `remote/flows.test.ts`. */
describe('a large flow', () => {
  it('is taken in, in several commits', async () => {
    const runtime = await openFlows('memory', { autostart: false });
    const flow = await runtime.flow((f) => {
      const all = f.group(Array.from({ length: LARGE }, (_, at) => f.task('echo', at)));
      return { all, last: f.task('weigh', undefined, { after: { all } }) };
    });
    expect(await flow.progress()).toMatchObject({ total: LARGE + 1 });
    const { all, last } = flow.handles;
    expect(all.length).toBe(LARGE);
    expect(await runtime.get(all[LARGE - 1]!.id)).toMatchObject({ payload: LARGE - 1, flow: flow.id });
    expect(await runtime.get(last.id)).toMatchObject({ name: 'weigh', state: 'blocked' });
    expect(await flow.cancel()).toBe(true);
    expect(await flow.settled({ timeoutMs: 30_000 })).toMatchObject({ cancelled: LARGE + 1 });
  });
});

describe.each(BACKENDS)('a flow is refused, and nothing of it is stored (%s)', (kind) => {
  const UNKNOWN = 'v'.repeat(25).concat('g');
  type Build = Parameters<FlowRuntime['flow']>[0];
  const REFUSED: readonly [what: string, build: Build, code: string, options?: object][] = [
    [
      'with a cycle',
      (f) => {
        const [a, b] = [f.task('echo', 1), f.task('echo', 2)];
        f.chain(a, b, a);
      },
      'INVALID_ARGUMENT',
    ],
    [
      'with an unknown parent',
      (f) => {
        f.task('echo', 0);
        f.task('echo', 1, { after: { x: UNKNOWN } });
      },
      'UNKNOWN_TASK',
    ],
    [
      'with a payload that cannot be stored',
      (f) => {
        f.task('echo', 0);
        f.task('echo', () => {});
      },
      'NOT_ENCODABLE',
    ],
    ['with an unknown codec', (f) => void f.task('echo', 0, { codec: 'none' }), 'UNKNOWN_CODEC'],
    ['with a name that is none', (f) => void f.task('echo', 0), 'INVALID_NAME', { name: 'two words' }],
    ['with a misspelt option', (f) => void f.task('echo', 0), 'UNKNOWN_OPTION', { retention: 1 }],
    [
      'with a unique key that is taken',
      (f) => {
        f.task('echo', 0);
        f.task('echo', 1, { unique: { key: 'taken', onConflict: 'reject' } });
      },
      'DUPLICATE_TASK',
    ],
  ];

  it('for what it is, or what it is to be', async () => {
    expect(parseId(UNKNOWN)).toBeDefined();
    const runtime = await openFlows(kind, { autostart: false });
    await runtime.enqueue('echo', 'x', { unique: { key: 'taken' } });
    const before = await runtime.counts();
    for (const [what, build, code, options] of REFUSED) {
      const error = await rejection(runtime.flow(build, options as never));
      expect([what, error.code]).toEqual([what, `ERR_MILLRACE_${code}`]);
    }
    expect(await runtime.counts()).toEqual(before);
    expect((await runtime.flows.list()).flows).toEqual([]);
  });
});

describe('a label that a task does not have', () => {
  it('is refused, with those that it has', async () => {
    const runtime = await openFlows('memory');
    const flow = await runtime.flow((f) => {
      const pages = f.group([]);
      const wrong = f.task('gather', { labels: ['page'] }, { after: { pages }, maxAttempts: 1 });
      return { wrong, alone: f.task('gather', { labels: ['pages'] }, { maxAttempts: 1 }) };
    });
    expect((await rejection(flow.handles.wrong.result())).cause).toMatchObject({
      code: 'ERR_MILLRACE_INVALID_ARGUMENT',
      message: 'label must be one of this task, which has pages, not "page"',
    });
    expect((await rejection(flow.handles.alone.result())).cause).toMatchObject({
      message: expect.stringContaining('none: it came after nothing'),
    });
    const alone = runtime.run('gather', { labels: ['pages'] }, { maxAttempts: 1 });
    expect((await rejection(alone)).cause).toMatchObject({ code: 'ERR_MILLRACE_INVALID_ARGUMENT' });
  });
});

describe('a task without a flow', () => {
  it('adds others to none: they are enqueued like any', async () => {
    const runtime = await openFlows('memory');
    expect(await runtime.run('grows', 2)).toBe('grown');
    await runtime.whenIdle();
    expect((await runtime.list({ name: 'echo', state: 'completed' })).tasks.length).toBe(2);
    expect((await runtime.flows.list()).flows).toEqual([]);
  });
});

describe('after a restart', () => {
  it('a flow goes on where it was, and is awaited by its id', async () => {
    const host = new Host();
    const backend = freshBackend('lmdb');
    const first = await openFlows(backend, { services: host.all });
    const flow = await first.flow((f) => {
      const pages = f.group([f.task('echo', 1), f.task('hold', 'door')]);
      return { book: f.task('gather', { labels: ['pages'] }, { after: { pages } }) };
    });
    await host.reached('door');
    await first.stop({ graceMs: 0, killMs: 0 });
    host.open('door');
    const second = await openFlows(backend, { services: host.all });
    expect(await second.handle(flow.handles.book.id).result()).toEqual({ pages: [1, 'door'] });
    expect(await second.flows.handle(flow.id).settled()).toMatchObject({ state: 'completed', total: 3 });
  });
});

/** What was sent to the owner has arrived. */
async function settleTurns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
}
