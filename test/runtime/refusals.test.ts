/** What is refused, with which error, before anything is stored; the host never ends. */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MillraceError, openRuntime } from '#src/index.js';
import { silentLogger } from '#src/logger.js';
import { BACKENDS, fixture, freshBackend, freshFolder, open, RUNTIMES, rejection } from './harness.js';

const MODULES = 'tasks-modules/';
const codeOf = (code: string) => `ERR_MILLRACE_${code}`;

/** `with` goes over sound options. */
const REFUSED_AT_OPEN: readonly [what: string, options: object, code: string, rest?: object][] = [
  ['an unknown option', { treads: 2 }, 'UNKNOWN_OPTION', { nearest: 'threads' }],
  ['no backend', { backend: undefined }, 'INVALID_ARGUMENT', { argument: 'options.backend' }],
  ['no tasks', { tasks: undefined }, 'INVALID_ARGUMENT', { argument: 'options.tasks' }],
  ['a backend that is planned', { backend: 'redis://localhost' }, 'INVALID_ARGUMENT'],
  ['a backend that never was', { backend: 'ftp://localhost' }, 'INVALID_ARGUMENT'],
  ['lmdb: without a folder', { backend: 'lmdb:' }, 'INVALID_ARGUMENT'],
  ['no threads', { threads: 0 }, 'INVALID_ARGUMENT', { argument: 'options.threads' }],
  ['half a thread', { threads: 1.5 }, 'INVALID_ARGUMENT'],
  ['threads as text', { threads: '4' }, 'INVALID_ARGUMENT'],
  ['a queue with a bad name', { queues: { 'a/b': {} } }, 'INVALID_NAME'],
  ['an option of a queue', { queues: { a: { maxThread: 1 } } }, 'UNKNOWN_OPTION'],
  ['a queue of a queue', { queues: { a: { queue: 'b' } } }, 'UNKNOWN_OPTION'],
  ['a hook that is no function', { hooks: { sum: { backoff: 5 } } }, 'INVALID_ARGUMENT'],
  ['a hook with a bad task name', { hooks: { '': {} } }, 'INVALID_NAME'],
  ['a module that is not there', { tasks: './no/such/module.js' }, 'TASKS_MODULE'],
  ['a module from the network', { tasks: 'https://example.org/tasks.js' }, 'TASKS_MODULE'],
  ['a module in its own URL', { tasks: 'data:text/javascript,export const a = () => 1' }, 'TASKS_MODULE'],
  ['a folder as a module', { tasks: new URL('./', fixture('runtime-tasks')) }, 'TASKS_MODULE'],
  ['a module that throws', { tasks: fixture(`${MODULES}throws`) }, 'TASKS_MODULE'],
  ['a module that exits', { tasks: fixture(`${MODULES}exits`) }, 'TASKS_MODULE'],
  ['a module without handlers', { tasks: fixture(`${MODULES}empty`) }, 'TASKS_MODULE'],
  ['a module with two handlers of one name', { tasks: fixture(`${MODULES}duplicate`) }, 'TASKS_MODULE'],
  ['a module whose setup throws', { tasks: fixture(`${MODULES}bad-setup`) }, 'TASKS_MODULE'],
];

/** To root every folder is open. */
const WITHOUT_PRIVILEGES = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

describe('openRuntime refuses', () => {
  it.each(REFUSED_AT_OPEN)('%s', async (_what, options, code, rest = {}) => {
    const folder = freshFolder();
    const given = {
      backend: join(folder, 'store'),
      tasks: fixture('runtime-tasks'),
      threads: 1,
      logger: silentLogger,
      ...options,
    };
    const error = await rejection(openRuntime(given as never));
    expect(error).toBeInstanceOf(MillraceError);
    expect(error).toMatchObject({ code: codeOf(code), ...rest });
    expect(error.message.length).toBeLessThan(1_000);
    if (code !== 'TASKS_MODULE') expect(readdirSync(folder)).toEqual([]);
    // Nothing is left locked.
    if (existsSync(join(folder, 'store'))) await open(join(folder, 'store'));
  });

  it('a module that throws, with what it threw as the cause', async () => {
    const error = await rejection(open('memory', { tasks: fixture(`${MODULES}throws`) }));
    expect(error.message).toContain('refuses to load');
    expect(error.url).toBe(fixture(`${MODULES}throws`).href);
  });

  it('flags that threads do not take, leaving nothing locked', async () => {
    const backend = freshBackend('lmdb');
    expect(await rejection(open(backend, { execArgv: ['--stack-trace-limit=3'] }))).toMatchObject({
      code: codeOf('INVALID_ARGUMENT'),
      argument: 'options.execArgv',
    });
    await open(backend);
  });

  it('an aborted signal, with its reason', async () => {
    const folder = freshFolder();
    const signal = AbortSignal.abort(new Error('too late'));
    expect((await rejection(open(join(folder, 'store'), { signal }))).message).toBe('too late');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('options that are no object', async () => {
    for (const options of [undefined, null, 5, 'memory:', [], () => 1]) {
      expect(await rejection(openRuntime(options as never))).toMatchObject({
        code: codeOf('INVALID_ARGUMENT'),
      });
    }
  });

  it('options that reach for a prototype', async () => {
    const options = JSON.parse('{"backend":"memory:","tasks":"./x.js","__proto__":{"threads":1}}');
    expect(await rejection(openRuntime(options))).toMatchObject({ code: codeOf('UNKNOWN_OPTION') });
    expect(({} as { threads?: number }).threads).toBeUndefined();
  });

  it('a store where a file is, or below one', async () => {
    const file = join(freshFolder(), 'file');
    writeFileSync(file, 'mine');
    for (const backend of [file, join(file, 'store')]) {
      expect(await rejection(open(backend))).toMatchObject({ code: codeOf('STORE_UNAVAILABLE') });
    }
  });

  it.each(['data.mdb', 'manifest.json'])(
    'a folder that holds the %s of another, which stays',
    async (name) => {
      const folder = freshFolder();
      writeFileSync(join(folder, name), '{"short_name":"not ours"}');
      expect(await rejection(open(folder))).toMatchObject({ code: codeOf('STORE_FOREIGN'), path: folder });
      expect(readFileSync(join(folder, name), 'utf8')).toBe('{"short_name":"not ours"}');
    },
  );

  it('a store that this very process has open, and says who has it', async () => {
    const backend = freshBackend('lmdb');
    const runtime = await open(backend);
    expect(await rejection(open(backend))).toMatchObject({ code: codeOf('LOCKED'), pid: process.pid });
    expect(await runtime.run('sum', [1, 1])).toBe(2);
    await runtime.stop();
    expect(await (await open(backend)).run('sum', [1, 2])).toBe(3);
  });

  it('with `ifLocked: "wait"` waits for the end of the owner, or of its patience', async () => {
    const backend = freshBackend('lmdb');
    const first = await open(backend, { threads: 1 });
    const abort = new AbortController();
    const impatient = rejection(open(backend, { threads: 1, ifLocked: 'wait', signal: abort.signal }));
    abort.abort(new Error('too long'));
    expect((await impatient).message).toBe('too long');
    const second = open(backend, { threads: 1, ifLocked: 'wait' });
    expect(await first.run('sum', [1, 2])).toBe(3);
    await first.stop();
    expect(await (await second).run('sum', [1, 2])).toBe(3);
  });

  it.skipIf(!canRunWithoutPrivileges())('a folder in which it may not write', () => {
    const folder = freshFolder();
    chmodSync(folder, 0o555);
    const script = `
      const { openRuntime } = await import(${JSON.stringify(fixture('../../src/index').href)});
      const tasks = ${JSON.stringify(fixture('runtime-tasks').href)};
      await openRuntime({ backend: ${JSON.stringify(join(folder, 'store'))}, tasks }).then(
        () => console.log('opened'), ({ code, path }) => console.log(code, path));`;
    const args = ['--input-type=module', '--eval', script];
    const answer = execFileSync(process.execPath, args, { ...WITHOUT_PRIVILEGES, encoding: 'utf8' });
    expect(answer.trim()).toBe(`${codeOf('STORE_UNAVAILABLE')} ${join(folder, 'store')}`);
  });
});

/** Whether a process without privileges can load this build: the clone may lie where it may not look. */
function canRunWithoutPrivileges(): boolean {
  if (process.platform === 'win32') return false;
  const args = [
    '--input-type=module',
    '--eval',
    `await import(${JSON.stringify(fixture('../../src/index').href)})`,
  ];
  try {
    execFileSync(process.execPath, args, { ...WITHOUT_PRIVILEGES, stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const cyclic: { self?: unknown } = {};
cyclic.self = cyclic;
const deep = Array.from({ length: 10_000 }).reduce<unknown>((inner) => [inner], 1);
const trapped = {
  get secret(): never {
    throw new Error('the getter ran');
  },
};

type RefusedTask = readonly [
  what: string,
  args: readonly [name: unknown, payload?: unknown, options?: unknown],
  code: string,
  rest?: object,
];
const REFUSED_TASKS: readonly RefusedTask[] = [
  ...['', 'a b', 'a/b', '../x', 'a\0b', '\u001b[31m', 'é', '-a', 'x'.repeat(129), '<script>', 'a\n'].map(
    (name) => [`the name ${JSON.stringify(name.slice(0, 12))}`, [name], 'INVALID_NAME'] satisfies RefusedTask,
  ),
  ...[undefined, null, 5, {}, Symbol('a')].map(
    (name) => [`the name ${String(name)}`, [name], 'INVALID_NAME'] satisfies RefusedTask,
  ),
  ['a function', ['echo', { a: [1, { f() {} }] }], 'NOT_ENCODABLE', { path: 'a[1].f' }],
  ['a symbol', ['echo', { s: Symbol('s') }], 'NOT_ENCODABLE', { path: 's' }],
  ['a class', ['echo', { e: new URL('http://a') }], 'NOT_ENCODABLE', { path: 'e' }],
  ['a cycle', ['echo', cyclic], 'NOT_ENCODABLE'],
  ['depth', ['echo', deep], 'NOT_ENCODABLE'],
  ['a getter that throws', ['echo', trapped], 'NOT_ENCODABLE', { path: 'secret' }],
  ['a key __proto__', ['echo', JSON.parse('{"a":{"__proto__":{"x":1}}}')], 'NOT_ENCODABLE'],
  ['a key constructor', ['echo', { constructor: 1 }], 'NOT_ENCODABLE'],
  ['a promise', ['echo', Promise.resolve(1)], 'NOT_ENCODABLE'],
  ['two MiB of text', ['echo', 'x'.repeat(2_097_152)], 'TOO_LARGE', { maxBytes: 1_048_576 }],
  ['an unknown option', ['echo', 1, { prioritty: 9 }], 'UNKNOWN_OPTION', { nearest: 'priority' }],
  ['an option of `run`', ['echo', 1, { waitMs: 9 }], 'UNKNOWN_OPTION'],
  ['options that are null', ['echo', 1, null], 'INVALID_ARGUMENT'],
  ['priority 10', ['echo', 1, { priority: 10 }], 'INVALID_ARGUMENT', { argument: 'options.priority' }],
  ['priority urgent', ['echo', 1, { priority: 'urgent' }], 'INVALID_ARGUMENT'],
  ['no attempts', ['echo', 1, { maxAttempts: 0 }], 'INVALID_ARGUMENT'],
  ['a timeout of NaN', ['echo', 1, { timeoutMs: Number.NaN }], 'INVALID_ARGUMENT'],
  ['a delay before now', ['echo', 1, { delayMs: -1 }], 'INVALID_ARGUMENT'],
  ['a delay and an instant', ['echo', 1, { delayMs: 1, runAt: 5 }], 'INVALID_ARGUMENT'],
  ['stale before it runs', ['echo', 1, { runAt: 5_000, staleAt: 4_000 }], 'INVALID_ARGUMENT'],
  ['a bad queue name', ['echo', 1, { queue: 'a/b' }], 'INVALID_NAME'],
  ['an unknown codec', ['echo', 1, { codec: 'nope' }], 'UNKNOWN_CODEC', { codec: 'nope' }],
  ['a key of 513 characters', ['echo', 1, { unique: { key: 'k'.repeat(513) } }], 'INVALID_ARGUMENT'],
  ['no key', ['echo', 1, { unique: {} }], 'INVALID_ARGUMENT'],
  ['a transfer of no buffer', ['echo', 1, { transfer: [new Uint8Array(1)] }], 'INVALID_ARGUMENT'],
];

describe.each(BACKENDS)('enqueue refuses (%s)', (kind) => {
  it('with its error, storing nothing', async () => {
    const runtime = await open(kind);
    const enqueue = runtime.enqueue.bind(runtime) as (...args: unknown[]) => Promise<unknown>;
    for (const [what, args, code, rest = {}] of REFUSED_TASKS) {
      const error = await rejection(enqueue(...args));
      expect({ what, code: error.code }).toEqual({ what, code: codeOf(code) });
      expect(error).toMatchObject(rest);
      expect(error).toBeInstanceOf(MillraceError);
    }
    for (const counts of (await runtime.counts()).values()) {
      expect(Object.values(counts).every((count) => count === 0)).toBe(true);
    }
    expect(({} as { x?: number }).x).toBeUndefined();
    expect(await runtime.run('sum', [1, 2])).toBe(3);
  });

  it('what the host’s schema refuses, and takes what it puts out', async () => {
    const validate = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: async (value: unknown) =>
          Array.isArray(value)
            ? { value: value.map(Number) }
            : {
                issues: [{ message: 'must be a list', path: ['a', { key: 'b' }] }, { message: 'and so on' }],
              },
      },
    };
    const runtime = await open(kind, { hooks: { sum: { validate } } });
    expect(await rejection(runtime.enqueue('sum', 'x' as never))).toMatchObject({
      code: 'ERR_MILLRACE_INVALID_PAYLOAD',
      taskName: 'sum',
      issues: ['a.b: must be a list', 'and so on'],
    });
    expect(await runtime.run('sum', ['1', '2'] as never)).toBe(3);
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: 1, dead: 0 });
  });

  it('more than may wait for its flush', async () => {
    const runtime = await open(kind, { maxPendingEnqueues: 100 });
    const all = await Promise.allSettled(
      Array.from({ length: 150 }, () => runtime.enqueue('noop', undefined)),
    );
    const refused = all.filter((each) => each.status === 'rejected');
    expect(refused.length).toBe(50);
    for (const { reason } of refused)
      expect(reason).toMatchObject({ code: codeOf('QUEUE_FULL'), limit: 100 });
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')?.completed).toBe(100);
    expect(await runtime.run('sum', [1])).toBe(1);
  });
});

const REFUSED_CALLS: readonly [what: string, call: (runtime: Open) => unknown, code: string][] = [
  ['a bad page', (runtime) => runtime.list({}, { limit: 0 }), 'INVALID_ARGUMENT'],
  ['a bad queue to pause', (runtime) => runtime.pause('a/b'), 'INVALID_NAME'],
  ['a bad queue to resume', (runtime) => runtime.resume(''), 'INVALID_NAME'],
  ['no threads', (runtime) => runtime.resize(0), 'INVALID_ARGUMENT'],
  ['a missing module', (runtime) => runtime.register('./nope.js'), 'TASKS_MODULE'],
  ['a module that throws', (runtime) => runtime.register(fixture(`${MODULES}throws`)), 'TASKS_MODULE'],
  ['to cancel what never was', (runtime) => runtime.cancel('0'.repeat(26)), 'UNKNOWN_TASK'],
  ['to redrive what never was', (runtime) => runtime.redrive('0'.repeat(26)), 'UNKNOWN_TASK'],
  ['to delete what never was', (runtime) => runtime.delete('0'.repeat(26)), 'UNKNOWN_TASK'],
  ['an unknown filter', (runtime) => runtime.list({ sate: 'dead' } as never), 'UNKNOWN_OPTION'],
  ['an unknown state', (runtime) => runtime.list({ state: 'done' } as never), 'INVALID_ARGUMENT'],
  ['to cancel by no filter', (runtime) => runtime.cancel(null as never), 'INVALID_ARGUMENT'],
  ['to cancel by a misspelt filter', (runtime) => runtime.cancel({ nmae: 'a' } as never), 'UNKNOWN_OPTION'],
  ['to delete by a misspelt filter', (runtime) => runtime.delete({ nmae: 'a' } as never), 'UNKNOWN_OPTION'],
  ['to redrive by a misspelt filter', (runtime) => runtime.redrive({ q: 'a' } as never), 'UNKNOWN_OPTION'],
  ['events of an unknown kind', (runtime) => runtime.events({ kinds: ['end'] } as never), 'INVALID_ARGUMENT'],
  ['an unknown option of result', (runtime) => misspelt(runtime, 'result'), 'UNKNOWN_OPTION'],
  ['an unknown option of run', (runtime) => misspelt(runtime, 'run'), 'UNKNOWN_OPTION'],
  ['an unknown option of stop', (runtime) => misspelt(runtime, 'stop'), 'UNKNOWN_OPTION'],
  ['a batch that is none', (runtime) => runtime.enqueueBatch('x' as never), 'INVALID_ARGUMENT'],
  ['a batch of nothing', (runtime) => runtime.enqueueBatch([undefined] as never), 'INVALID_ARGUMENT'],
  ['a misspelt batch', (runtime) => runtime.enqueueBatch(MISSPELT_BATCH as never), 'UNKNOWN_OPTION'],
];

describe.each(BACKENDS)('an open runtime refuses (%s)', (kind) => {
  it('each call that makes no sense, and goes on', async () => {
    const runtime = await open(kind, { threads: 1 });
    for (const [what, call, code] of REFUSED_CALLS) {
      const error = await rejection((async () => call(runtime))());
      expect({ what, code: error.code }).toEqual({ what, code: codeOf(code) });
      expect(await runtime.run('sum', [1, 2])).toBe(3);
    }
  });
});

describe.each(RUNTIMES)('a stopped runtime refuses (%s)', (kind) => {
  it('everything that would start or store something after stop', async () => {
    const runtime = await open(kind, { threads: 1 });
    const { id } = await runtime.enqueue('sum', [1]);
    await runtime.whenIdle();
    await runtime.stop();
    const calls: readonly (() => Promise<unknown>)[] = [
      () => runtime.enqueue('sum', [1]),
      () => runtime.enqueueBatch([{ name: 'sum', payload: [1] }]),
      () => runtime.run('sum', [1]),
      () => runtime.run('sum', [1], { priority: 9 }),
      () => runtime.resize(2),
      () => runtime.register(fixture('runtime-more-tasks')),
      () => runtime.pause('default'),
      () => runtime.resume('default'),
      () => runtime.cancel(id),
      () => runtime.redrive({}),
      () => runtime.delete(id),
      () => runtime.get(id),
      () => runtime.list(),
      () => runtime.handle(id).result(),
    ];
    for (const call of calls) {
      expect({ call: String(call), code: (await rejection(call())).code }).toEqual({
        call: String(call),
        code: codeOf('STOPPED'),
      });
    }
    await runtime.whenIdle();
  });
});

const MISSPELT_BATCH = [{ name: 'noop', payload: 1, option: { priority: 9 } }];

type Open = Awaited<ReturnType<typeof open>>;

async function misspelt(runtime: Open, call: 'result' | 'run' | 'stop'): Promise<unknown> {
  if (call === 'run') return runtime.run('sum', [1], { waitMS: 1 } as never);
  if (call === 'stop') return runtime.stop({ gracems: 1 } as never);
  const handle = await runtime.enqueue('sum', [1]);
  return handle.result({ timeoutMS: 1 } as never);
}
