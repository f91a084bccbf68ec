/** What a broken or hostile client can do: end its own connection, and nothing else. */
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_CALLS, MAX_CLIENTS, PROTOCOL } from '#src/remote/protocol.js';
import { encodeValue } from '#src/task/codec.js';
import { FrameReader, frameOf } from '#src/wire/frames.js';
import { freshBackend, open, openTestClient, rejection, type TestRuntime } from '../runtime/harness.js';

const HELLO = { kind: 'hello', protocol: PROTOCOL };
const MAX_PAYLOAD = 10_000;
const body = (value: unknown) => encodeValue(value).slice();

let backend: string;
let runtime: TestRuntime;
const sockets = new Set<net.Socket>();

beforeEach(async () => {
  backend = freshBackend('lmdb');
  const limits = { maxPayloadBytes: MAX_PAYLOAD, maxBufferBytes: MAX_PAYLOAD };
  runtime = await open(backend, { threads: 1, ...limits });
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
});

/** A client that says what the test wants it to. */
class Stranger {
  readonly socket: net.Socket;
  readonly #reader = new FrameReader(2 ** 24);
  readonly #heard: unknown[] = [];
  #look: () => void = () => {};

  constructor() {
    const name = readdirSync(backend).find((each) => each.endsWith('.sock'))!;
    this.socket = net.connect(join(backend, name));
    this.socket.on('error', () => {});
    this.socket.on('data', (chunk) => {
      this.#heard.push(...this.#reader.push(chunk));
      this.#look();
    });
    this.socket.on('close', () => this.#look());
    sockets.add(this.socket);
  }

  say(...messages: unknown[]): this {
    for (const message of messages) this.socket.write(frameOf(message));
    return this;
  }

  /** The next answer; undefined when the connection has ended. */
  async hear(): Promise<Record<string, unknown> | undefined> {
    while (this.#heard.length === 0 && !this.socket.destroyed) {
      await new Promise<void>((resolve) => {
        this.#look = resolve;
      });
    }
    return this.#heard.shift() as Record<string, unknown> | undefined;
  }

  async ended(): Promise<void> {
    if (!this.socket.destroyed) await once(this.socket, 'close');
  }
}

/** One that has been greeted. */
async function guest(): Promise<Stranger> {
  const stranger = new Stranger().say(HELLO);
  expect(await stranger.hear()).toMatchObject({ kind: 'welcome', maxPayloadBytes: MAX_PAYLOAD });
  return stranger;
}

describe('a connection is ended by', () => {
  const BYTES: readonly (Uint8Array | string)[] = [
    Buffer.from([255, 255, 255, 127, 1]),
    Buffer.from([0, 0, 0, 0]),
    Buffer.from([2, 0, 0, 0, 1, 255]),
    'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
  ];
  it('bytes that are no message: too large, empty, damaged, of another protocol', async () => {
    for (const bytes of BYTES) {
      const stranger = new Stranger();
      stranger.socket.write(bytes);
      await stranger.ended();
      expect(await runtime.run('sum', [1, 2])).toBe(3);
    }
  });

  const MESSAGES: readonly unknown[] = [
    { kind: 'call', call: 1, verb: 'counts' },
    7,
    undefined,
    { kind: 'toString' },
    { kind: 'call', verb: 'counts' },
  ];
  it('a call before its hello or without a number, and by what is neither', async () => {
    for (const message of MESSAGES) {
      const stranger = new Stranger().say(message);
      await stranger.ended();
      expect(await runtime.run('sum', [1, 2])).toBe(3);
    }
  });

  it('a call under the number of one under way, which would be counted once', async () => {
    const call = { kind: 'call', call: 1, verb: 'events', filter: {} };
    const stranger = (await guest()).say(call, call);
    await stranger.ended();
    expect(await runtime.run('sum', [1, 2])).toBe(3);
  });

  it('a second hello', async () => {
    const stranger = (await guest()).say(HELLO);
    await stranger.ended();
    expect(await runtime.run('sum', [1, 2])).toBe(3);
  });

  it('hello in another protocol, which is told', async () => {
    const stranger = new Stranger().say({ ...HELLO, protocol: 99 });
    expect(await stranger.hear()).toMatchObject({
      kind: 'failed',
      error: { code: 'ERR_MILLRACE_PROTOCOL', message: expect.stringContaining('protocol 99') },
    });
    await stranger.ended();
  });
});

describe('a call is refused', () => {
  const call = { kind: 'call', call: 1 };
  const task = { name: 'sum', body: body([1, 2]) };
  const schedule = { verb: 'schedule', id: 'a', rule: { everyMs: 1_000 }, ...task };
  const REFUSED: readonly [string, object, string][] = [
    ['of an unknown verb', { verb: 'format' }, 'UNSUPPORTED'],
    ['of a verb that is a member of every object', { verb: 'constructor' }, 'UNSUPPORTED'],
    ['to enqueue no array', { verb: 'enqueue', tasks: 'x' }, 'INVALID_ARGUMENT'],
    [
      'to enqueue too many at a time',
      { verb: 'enqueue', tasks: Array(1_001).fill(task) },
      'INVALID_ARGUMENT',
    ],
    ['to settle what never was', { verb: 'settled', id: 'x' }, 'UNKNOWN_TASK'],
    ['to settle no id', { verb: 'settled', id: { a: 1 } }, 'UNKNOWN_TASK'],
    ['to cancel nothing', { verb: 'cancel' }, 'INVALID_ARGUMENT'],
    ['to delete by a misspelt filter', { verb: 'delete', what: { que: 'x' } }, 'UNKNOWN_OPTION'],
    ['to pause no queue', { verb: 'pause', queue: '../x', isPaused: true }, 'INVALID_NAME'],
    ['to list pages of a million', { verb: 'list', filter: {}, page: { limit: 1e6 } }, 'INVALID_ARGUMENT'],
    ['to have no threads', { verb: 'resize', threads: 0 }, 'INVALID_ARGUMENT'],
    ['to hear of unknown events', { verb: 'events', filter: { kinds: ['x'] } }, 'INVALID_ARGUMENT'],
    ['to batch no tasks', { verb: 'batch', tasks: [7] }, 'INVALID_ARGUMENT'],
    ['to schedule nothing', { verb: 'schedule' }, 'INVALID_NAME'],
    ['to schedule what never fires', { ...schedule, rule: { cron: '0 0 30 2 *' } }, 'INVALID_ARGUMENT'],
    ['to schedule no payload', { ...schedule, body: 'x' }, 'INVALID_ARGUMENT'],
    ['to schedule under a path', { ...schedule, id: '../manifest' }, 'INVALID_NAME'],
    ['to schedule what has fired', { ...schedule, options: { runs: 5 } }, 'UNKNOWN_OPTION'],
    ['to look at a schedule without a name', { verb: 'getSchedule', id: { a: 1 } }, 'INVALID_NAME'],
    ['to pause no schedule', { verb: 'pauseSchedule', id: 'x', isPaused: true }, 'UNKNOWN_SCHEDULE'],
    ['to list a million schedules', { verb: 'listSchedules', page: { limit: 1e6 } }, 'INVALID_ARGUMENT'],
    ['to fire no schedule', { verb: 'runSchedule', id: 'x' }, 'UNKNOWN_SCHEDULE'],
  ];
  it('that makes no sense, and the next one is answered', async () => {
    for (const [what, asked, code] of REFUSED) {
      const stranger = (await guest()).say({ ...call, ...asked });
      const answer = await stranger.hear();
      expect({ what, ...answer }).toMatchObject({
        what,
        kind: 'failed',
        call: 1,
        error: { code: `ERR_MILLRACE_${code}` },
      });
      stranger.say({ ...call, call: 2, verb: 'counts' });
      expect(await stranger.hear()).toMatchObject({ kind: 'done', call: 2 });
    }
  });

  const TASKS: readonly [string, unknown, string][] = [
    ['no object', 7, 'INVALID_ARGUMENT'],
    ['a bad name', { ...task, name: '__proto__ x' }, 'INVALID_NAME'],
    ['no payload', { name: 'sum' }, 'INVALID_ARGUMENT'],
    ['a payload that is not encoded', { name: 'sum', body: new Uint8Array([9, 9]) }, 'INVALID_ARGUMENT'],
    [
      'a payload that points into the store',
      { name: 'sum', body: new Uint8Array([3, 1, 1, 1]) },
      'INVALID_ARGUMENT',
    ],
    [
      'a payload that is too large',
      { name: 'sum', body: body(new Uint8Array(2 * MAX_PAYLOAD)) },
      'TOO_LARGE',
    ],
    ['an unknown option', { ...task, options: { retries: 1 } }, 'UNKNOWN_OPTION'],
    ['an option beyond its bounds', { ...task, options: { maxAttempts: 0 } }, 'INVALID_ARGUMENT'],
    ['buffers to move', { ...task, options: { transfer: [] } }, 'INVALID_ARGUMENT'],
  ];
  it('for a task that is not sound, alone', async () => {
    for (const [what, bad, code] of TASKS) {
      const stranger = (await guest()).say({ ...call, verb: 'enqueue', tasks: [bad, task] });
      const { value } = (await stranger.hear()) as { value: unknown[] };
      const answers = [{ error: { code: `ERR_MILLRACE_${code}` } }, { isNew: true }];
      expect({ what, value }).toMatchObject({ what, value: answers });
    }
  });
});

describe('one client does not hurt another', () => {
  it('by random bytes', { timeout: 60_000 }, async () => {
    const client = await openTestClient(backend);
    const seed = Number(process.env.HOSTILE_SEED ?? Date.now() % 1e6);
    console.log(`HOSTILE_SEED=${seed}`);
    const chunk = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.anything({ maxDepth: 2 }).map((value) => {
        try {
          return frameOf(value);
        } catch {
          return frameOf(HELLO);
        }
      }),
      fc
        .record({
          verb: fc.constantFrom('enqueue', 'batch', 'settled', 'list', 'cancel', 'events', 'schedule', 'x'),
        })
        .map((asked) => frameOf({ kind: 'call', call: 1, ...asked })),
    );
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.array(chunk, { maxLength: 10 }), async (greets, chunks) => {
        const stranger = greets ? await guest() : new Stranger();
        for (const each of chunks) stranger.socket.write(each);
        stranger.socket.end();
        expect(await client.run('sum', [1, 2])).toBe(3);
        await stranger.ended();
      }),
      { seed, numRuns: 60 },
    );
  });

  it('by asking without reading: it is not read from any more', async () => {
    const large = await runtime.enqueue('large', { bytes: MAX_PAYLOAD - 1_000 });
    await large.result();
    const stranger = await guest();
    stranger.socket.pause();
    const call = { kind: 'call', verb: 'settled', id: large.id };
    let isTaken = true;
    for (let at = 1; isTaken && at < 20_000; at++)
      isTaken = stranger.socket.write(frameOf({ ...call, call: at }));
    expect(isTaken).toBe(false);
    expect(await runtime.run('sum', [1, 2])).toBe(3);
    const client = await openTestClient(backend);
    expect(await client.run('sum', [1, 2])).toBe(3);
    stranger.socket.resume();
    expect(await stranger.hear()).toMatchObject({ kind: 'done' });
  });

  it('by asking for much at once: it is read as fast as it is taken', async () => {
    backend = freshBackend('lmdb');
    runtime = await open(backend, { threads: 1 });
    const large = await runtime.enqueue('large', { bytes: 500_000 });
    await large.result();
    const stranger = new Stranger().say(HELLO);
    await stranger.hear();
    stranger.socket.pause();
    const before = process.memoryUsage().arrayBuffers;
    for (let call = 1; call <= 400; call++) stranger.say({ kind: 'call', call, verb: 'get', id: large.id });
    let most = 0;
    for (let round = 0; round < 20; round++) {
      expect(await runtime.run('sum', [1, 2])).toBe(3);
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }
    expect(most).toBeLessThan(100_000_000);
    stranger.socket.resume();
    for (let at = 0; at < 400; at++) expect(await stranger.hear()).toMatchObject({ kind: 'done' });
  });

  it('by coming a thousand times: who comes then is told, and there is room again later', async () => {
    const guests: Stranger[] = [];
    // No more at once than wait in the socket's queue.
    while (guests.length < MAX_CLIENTS) {
      guests.push(...(await Promise.all(Array.from({ length: 100 }, () => guest()))));
    }
    const refused = await rejection(openTestClient(backend));
    expect(refused).toMatchObject({ code: 'ERR_MILLRACE_QUEUE_FULL' });
    guests[0]!.socket.destroy();
    const client = await openTestClient(backend).catch(() => openTestClient(backend));
    expect(await client.run('sum', [1, 2])).toBe(3);
  });

  it('by calls that never end: there is a bound', async () => {
    expect(MAX_CALLS).toBeLessThanOrEqual(200_000);
    const held = await runtime.enqueue('sum', [1], { delayMs: 60_000 });
    const stranger = await guest();
    for (let at = 1; at <= MAX_CALLS + 1; at++) {
      stranger.say({ kind: 'call', call: at, verb: 'settled', id: held.id });
    }
    expect(await stranger.hear()).toMatchObject({
      kind: 'failed',
      call: MAX_CALLS + 1,
      error: { code: 'ERR_MILLRACE_QUEUE_FULL' },
    });
    stranger.socket.destroy();
    expect(await runtime.run('sum', [1, 2])).toBe(3);
  });

  it('by beginning batches that never end: there is a bound', async () => {
    const stranger = await guest();
    const tasks = [{ name: 'sum', body: body([1]) }];
    for (let at = 1; at <= 17; at++)
      stranger.say({ kind: 'call', call: at, verb: 'batch', tasks, more: true });
    expect(await stranger.hear()).toMatchObject({
      kind: 'failed',
      call: 17,
      error: { code: 'ERR_MILLRACE_QUEUE_FULL' },
    });
    stranger.say({ kind: 'call', call: 1, verb: 'batch', tasks });
    expect(await stranger.hear()).toMatchObject({ kind: 'done', call: 1, value: [{ isNew: true }, {}] });
  });

  it('by a batch with a bad part: none of it is there, whatever comes after', async () => {
    const stranger = await guest();
    const part = { kind: 'call', call: 1, verb: 'batch', more: true };
    const tasks = [{ name: 'sum', body: body([1]) }];
    stranger.say({ ...part, tasks }, { ...part, tasks: [7] });
    expect(await stranger.hear()).toMatchObject({ kind: 'failed', call: 1 });
    stranger.say({ ...part, tasks }, { ...part, tasks, more: false });
    stranger.say({ kind: 'call', call: 2, verb: 'counts' });
    expect(await stranger.hear()).toMatchObject({ kind: 'done', call: 2 });
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')?.completed ?? 0).toBe(0);
    // Its number is free again.
    stranger.say({ kind: 'call', call: 1, verb: 'batch', tasks });
    expect(await stranger.hear()).toMatchObject({ kind: 'done', call: 1 });
  });

  it('by leaving in the middle of a batch, of which nothing is there then', async () => {
    const stranger = await guest();
    const tasks = Array(1_000).fill({ name: 'sum', body: body([1]) });
    stranger.say({ kind: 'call', call: 1, verb: 'batch', tasks, more: true });
    stranger.say({ kind: 'call', call: 2, verb: 'counts' });
    expect(await stranger.hear()).toMatchObject({ kind: 'done', call: 2 });
    stranger.socket.end();
    await stranger.ended();
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')?.completed ?? 0).toBe(0);
  });
});
