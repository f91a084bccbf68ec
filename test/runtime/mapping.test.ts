/** Many items through tasks: `map`, and streams of Node and the Web. */
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ReadableStream, type WritableStream } from 'node:stream/web';
import { describe, expect, it } from 'vitest';
import { Gate, nextEvent, open, RUNTIMES, rejection } from './harness.js';

/** A runtime's own calls, and those of a client; where its tasks are kept makes no difference here. */
const CALLERS = ['memory', 'client'] as const;

/** Numbers from 0 on, which know how many were read and whether they were left. */
class Source implements AsyncIterable<number> {
  readonly #count: number;
  read = 0;
  isClosed = false;

  constructor(count = Number.POSITIVE_INFINITY) {
    this.#count = count;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<number> {
    try {
      while (this.read < this.#count) yield this.read++;
    } finally {
      this.isClosed = true;
    }
  }

  /** The same without promises. */
  *now(): Generator<number> {
    try {
      while (this.read < this.#count) yield this.read++;
    } finally {
      this.isClosed = true;
    }
  }
}

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const list: Item[] = [];
  for await (const item of items) list.push(item);
  return list;
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at);

describe.each(CALLERS)('map, on %s', (kind) => {
  it('gives the results of all items in their order', async () => {
    const runtime = await open(kind);
    expect(await all(runtime.map(numbers(200), 'echo'))).toEqual(numbers(200));
    expect(await all(runtime.map(new Source(200), 'echo', { concurrency: 7 }))).toEqual(numbers(200));
    expect(await all(runtime.map(new Source(5).now(), 'echo', { concurrency: 1 }))).toEqual(numbers(5));
    expect(await all(runtime.map([], 'echo'))).toEqual([]);
    expect(await all(runtime.map('abc', 'echo'))).toEqual(['a', 'b', 'c']);
    expect(await all(runtime.map([1, null, undefined], 'echo'))).toEqual([1, null, undefined]);
  });

  it('gives them as they come when it is told to', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { services: gate.services });
    const options = { ordered: false, concurrency: 2 };
    const results = runtime.map(['a', 'b', 'c'], 'hold', options);
    const first = results.next();
    await gate.reached('b');
    gate.open('b');
    expect((await first).value).toBe('b');
    gate.open('c');
    expect((await results.next()).value).toBe('c');
    gate.open('a');
    expect(await all(results)).toEqual(['a']);
  });

  it('reads no further than its window, and nothing before it is asked', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { services: gate.services });
    for (const source of [new Source(), new Source()]) {
      const items = source.read === 0 ? source : source.now();
      const results = runtime.map(items, 'echo', { concurrency: 5 });
      await gate.settle();
      expect(source.read).toBe(0);
      for (const taken of [1, 2, 3]) {
        expect((await results.next()).value).toBe(taken - 1);
        await runtime.whenIdle();
        await gate.settle();
        // An async generator has begun nothing beyond what it was asked for.
        expect(source.read).toBe(taken + 5);
      }
      await results.return?.();
      expect(source.isClosed).toBe(true);
    }
  });

  it('ends with the first failure: the rest is cancelled, the source closed', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const source = new Source();
    const fails = { error: 'final' };
    async function* items() {
      for await (const at of source) yield at === 2 ? fails : { until: 1 };
    }
    const results = runtime.map(items(), 'fails', { concurrency: 50 });
    const error = await rejection(all(results));
    expect(error).toMatchObject({ code: 'ERR_MILLRACE_TASK_DEAD', reason: 'not-retryable' });
    expect(error.cause).toMatchObject({ message: 'never again' });
    await gate.settle();
    expect(source.isClosed).toBe(true);
    expect(await results.next()).toEqual({ done: true, value: undefined });
    await runtime.whenIdle();
  });

  it('left early, cancels what is in flight and closes its source', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const source = new Source();
    const held = runtime.map(['a', 'b', 'c'], 'hold', { concurrency: 3 });
    const cancelled = nextEvent(runtime, 'cancelled', {}, ({ taskId }) => taskId !== '');
    const first = held.next();
    await gate.reached('a');
    gate.open('a');
    await first;
    await held.return?.();
    expect(await cancelled).toMatchObject({ name: 'hold' });
    for (const key of ['b', 'c']) gate.open(key);
    for await (const result of runtime.map(source, 'echo')) if (result === 3) break;
    expect(source.isClosed).toBe(true);
    await runtime.whenIdle();
    const { ready, running } = (await runtime.counts()).get('default')!;
    expect({ ready, running }).toEqual({ ready: 0, running: 0 });
  });

  it('ends with an error of its source, and with its signal', async () => {
    const runtime = await open(kind);
    async function* broken() {
      yield 1;
      throw new RangeError('no more');
    }
    expect(await rejection(all(runtime.map(broken(), 'echo')))).toMatchObject({ message: 'no more' });
    const controller = new AbortController();
    const source = new Source();
    const results = runtime.map(source, 'echo', { signal: controller.signal });
    await results.next();
    controller.abort(new Error('enough'));
    expect(await rejection(results.next())).toMatchObject({ message: 'enough' });
    expect(source.isClosed).toBe(true);
    const late = runtime.map(source, 'echo', { signal: controller.signal });
    expect(await rejection(late.next())).toMatchObject({ message: 'enough' });
  });

  it('takes a source that promises in a way of its own, and ends with one that gives nonsense', async () => {
    const runtime = await open(kind);
    const from = (reads: readonly unknown[], isLater: boolean) => {
      let at = 0;
      const next = () => reads[at++];
      return { [isLater ? Symbol.asyncIterator : Symbol.iterator]: () => ({ next }) } as unknown as number[];
    };
    const soon = (read: object) => {
      const later = (tell: (read: object) => void) => void setImmediate(tell, read);
      return Object.defineProperty({}, 'then', { value: later });
    };
    const own = from([soon({ value: 1 }), soon({ value: 2 }), soon({ done: true })], true);
    expect(await all(runtime.map(own, 'echo'))).toEqual([1, 2]);
    for (const nonsense of [undefined, Promise.resolve(), 5]) {
      for (const isLater of [true, false]) {
        const results = runtime.map(from([{ value: 1 }, nonsense], isLater), 'echo');
        expect(await rejection(all(results))).toBeInstanceOf(TypeError);
      }
    }
  });

  it('waits for room instead of being refused', async () => {
    const runtime = await open(kind, { maxWaiting: 3 });
    const results = runtime.map(numbers(100), 'echo', { concurrency: 50, options: { priority: 7 } });
    expect(await all(results)).toEqual(numbers(100));
  });

  it('refuses what it cannot do at once', async () => {
    const runtime = await open(kind);
    const refused = (act: () => unknown, code: string) =>
      expect(act).toThrow(expect.objectContaining({ code: `ERR_MILLRACE_${code}` }));
    refused(() => runtime.map(5 as never, 'echo'), 'INVALID_ARGUMENT');
    refused(() => runtime.map([], '' as never), 'INVALID_NAME');
    refused(() => runtime.map([], 'echo', { concurency: 5 } as never), 'UNKNOWN_OPTION');
    refused(() => runtime.map([], 'echo', { options: { unique: { key: 'k' } } as never }), 'UNKNOWN_OPTION');
    refused(() => runtime.writable('echo', { ordered: true } as never), 'UNKNOWN_OPTION');
    refused(() => runtime.transform('a b' as never), 'INVALID_NAME');
  });
});

describe.each(CALLERS)('a writable, on %s', (kind) => {
  it('has finished when every task is accepted', async () => {
    const runtime = await open(kind, { autostart: false, queues: { media: {} } });
    await pipeline(Readable.from(numbers(300)), runtime.writable('echo', { options: { queue: 'media' } }));
    expect((await runtime.counts()).get('media')).toMatchObject({ ready: 300 });
    await ReadableStream.from(numbers(200)).pipeTo(runtime.writable('echo', { web: true }));
    expect((await runtime.counts()).get('default')).toMatchObject({ ready: 200 });
  });

  it('holds its producer up while there is no room', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, maxWaiting: 5, services: gate.services });
    await runtime.pause('default');
    const source = new Source(60);
    const done = pipeline(
      Readable.from(source, { highWaterMark: 1 }),
      runtime.writable('echo', { concurrency: 4 }),
    );
    await nextEvent(runtime, 'pressure');
    await gate.settle();
    // Five wait, the stream has four that want in and as many behind them.
    expect(source.read).toBeLessThanOrEqual(5 + 4 + 4 + 3);
    await runtime.resume('default');
    await done;
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: 60 });
  });

  it('is destroyed by a refusal and by its signal', async () => {
    const runtime = await open(kind, { maxWaiting: 5, autostart: false });
    const refusing = runtime.writable('echo', { options: { whenFull: 'reject' } });
    const refused = pipeline(Readable.from(numbers(50)), refusing);
    expect(await rejection(refused)).toMatchObject({ code: 'ERR_MILLRACE_QUEUE_FULL' });
    const controller = new AbortController();
    const waiting = runtime.writable('echo', { signal: controller.signal });
    const failed = once(waiting, 'error');
    waiting.write(1);
    controller.abort();
    expect(await failed).toMatchObject([{ name: 'AbortError' }]);
    // What a client has said before has arrived with its next answer.
    await runtime.counts();
    runtime.start();
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: 5 });
  });
});

describe.each(CALLERS)('a transform, on %s', (kind) => {
  it('turns payloads into results, in order', async () => {
    const runtime = await open(kind);
    const pairs = numbers(300).map((at) => [at, 1]);
    const results: number[] = [];
    const collect = new Writable({
      objectMode: true,
      write: (chunk, _encoding, done) => {
        results.push(chunk);
        done();
      },
    });
    await pipeline(Readable.from(pairs), runtime.transform('sum'), collect);
    expect(results).toEqual(numbers(301).slice(1));
    const through = ReadableStream.from(pairs).pipeThrough(runtime.transform('sum', { web: true }));
    expect(await all(through as AsyncIterable<number>)).toEqual(numbers(301).slice(1));
  });

  it('reads no faster than its reader', async () => {
    const gate = new Gate();
    const runtime = await open(kind);
    const source = new Source();
    const transform = Readable.from(source, { highWaterMark: 1 }).compose(
      runtime.transform('echo', { concurrency: 4 }) as never,
    ) as unknown as Readable;
    const reader = transform[Symbol.asyncIterator]();
    expect((await reader.next()).value).toBe(0);
    await runtime.whenIdle();
    await gate.settle();
    // A window, and the buffers of the streams about it.
    expect(source.read).toBeLessThan(4 + 4 * 4 + 5 + 32);
    await reader.return?.();
    await runtime.whenIdle();
  });

  it('ends with a failing task, its source too, and what is in flight is cancelled', async () => {
    const runtime = await open(kind, { threads: 1 });
    const source = new Source();
    async function* items() {
      for await (const at of source) yield at === 3 ? { error: 'final' } : { until: 1 };
    }
    const transform = runtime.transform('fails');
    const done = pipeline(
      Readable.from(items()),
      transform,
      new Writable({ objectMode: true, write: (_, __, next) => next() }),
    );
    expect(await rejection(done)).toMatchObject({ code: 'ERR_MILLRACE_TASK_DEAD' });
    expect([source.isClosed, transform.destroyed]).toEqual([true, true]);
    await runtime.whenIdle();
  });

  it('of the Web carries null and ends at both sides, whichever ends', async () => {
    const runtime = await open(kind);
    const options = { web: true, concurrency: 2 } as const;
    const nulls = ReadableStream.from([null, undefined, 1]).pipeThrough(runtime.transform('echo', options));
    expect(await all(nulls)).toEqual([null, undefined, 1]);
    const source = new Source();
    const left = ReadableStream.from(source).pipeThrough(runtime.transform('echo', options)).getReader();
    expect(await left.read()).toEqual({ done: false, value: 0 });
    await left.cancel();
    const failing = runtime.transform('fails', options);
    const piped = ReadableStream.from(Array(9).fill({ error: 'final' })).pipeTo(
      failing.writable as WritableStream<unknown>,
    );
    for (const ends of [piped, all(failing.readable)]) {
      expect(await rejection(ends)).toMatchObject({ code: 'ERR_MILLRACE_TASK_DEAD' });
    }
    const aborted = runtime.transform('echo', options);
    const writer = (aborted.writable as WritableStream<unknown>).getWriter();
    // More than it takes while nobody reads.
    const writes = numbers(20).map((at) => writer.write(at));
    for (const write of writes) write.catch(() => {});
    await writes[1];
    await writer.abort(new Error('enough'));
    expect(await rejection(writes[19]!)).toMatchObject({ message: 'enough' });
    expect(await rejection(all(aborted.readable))).toMatchObject({ message: 'enough' });
    await runtime.whenIdle();
    expect(source.isClosed).toBe(true);
  });

  it('that is destroyed tells all who write', async () => {
    const runtime = await open(kind);
    const transform = runtime.transform('echo', { concurrency: 1 });
    transform.on('error', () => {});
    const writes = numbers(9).map((at) => new Promise((told) => transform.write(at, told)));
    transform.destroy(new Error('enough'));
    const told = await Promise.all(writes);
    expect(told.at(0)).toMatchObject({ message: 'enough' });
    expect(told.every((error) => error instanceof Error)).toBe(true);
  });

  it('of Node cannot carry null, and says so', async () => {
    const runtime = await open(kind);
    const transform = runtime.transform('parse');
    transform.end('null');
    expect(await rejection(all(transform))).toMatchObject({ code: 'ERR_MILLRACE_INVALID_ARGUMENT' });
  });
});

describe.each(RUNTIMES)('the end of the runtime, on %s', (kind) => {
  it('ends what goes through it', async () => {
    const gate = new Gate();
    const runtime = await open(kind, { threads: 1, services: gate.services });
    const results = runtime.map(['a', 'b'], 'hold').next();
    const transform = runtime.transform('hold');
    const failed = once(transform, 'error');
    transform.on('data', () => {});
    transform.write('c');
    await gate.reached('a');
    const stopped = runtime.stop({ graceMs: 0, killMs: 0 });
    expect(await rejection(results)).toMatchObject({ code: 'ERR_MILLRACE_STOPPED' });
    expect(await failed).toMatchObject([{ code: 'ERR_MILLRACE_STOPPED' }]);
    await stopped;
  });
});
