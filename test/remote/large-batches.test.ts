/** Batches that are larger than one commit, from a client over a real socket. */
import { once } from 'node:events';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Backend } from '#src/broker/broker.js';
import { openMemory } from '#src/broker/memory.js';
import { systemClock } from '#src/clock.js';
import { defaultLogger } from '#src/logger.js';
import { validateRuntimeOptions } from '#src/options.js';
import { NoPool } from '#src/pool/no-pool.js';
import { Connection, type ConnectionListener } from '#src/remote/connection.js';
import { MAX_UNSENT_BYTES, PROTOCOL, type Welcome } from '#src/remote/protocol.js';
import { RemoteDesk } from '#src/remote/remote-desk.js';
import { Server } from '#src/remote/server.js';
import { Coordinator } from '#src/run/coordinator.js';
import { LocalDesk } from '#src/run/local-desk.js';
import { rejection } from '../runtime/harness.js';

const TASKS = 25_000;
/** Of a payload, at the owner; the client is told more. */
const MOST_BYTES = 1024;
const LIMIT_BYTES = 64 * 1024 * 1024;

let serial = 0;
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Rig {
  readonly backend: Backend;
  readonly desk: RemoteDesk;
  /** Of the client. */
  readonly socket: net.Socket;
  /** Of the owner. */
  readonly visitor: net.Socket;
}

/** An owner without threads, and one client of it. */
async function connect(): Promise<Rig> {
  const limits = { maxPendingEnqueues: 100_000, maxPendingBytes: LIMIT_BYTES };
  const backend = openMemory({ limits, now: () => systemClock.now() });
  const given = {
    backend: 'memory:',
    tasks: new URL('file:///none.js'),
    maxPayloadBytes: MOST_BYTES,
    maxBufferBytes: MOST_BYTES,
  };
  const options = validateRuntimeOptions(given, {
    ...{ threads: () => 1, logger: defaultLogger, clock: systemClock },
  });
  const parts = { backend, pool: new NoPool<never>(), options };
  const coordinator = new Coordinator({ ...parts, codecs: new Map(), runsNothing: true });
  const local = new LocalDesk({ ...parts, coordinator });
  const sizes = { maxPayloadBytes: 1024 * 1024, maxBufferBytes: LIMIT_BYTES };
  const server = new Server({
    ...{ desk: local, coordinator, role: 'runtime', options: { queues: new Map(), ...sizes } },
  });
  const path = join(tmpdir(), `millrace-${process.pid}-${serial++}.sock`);
  const listener = net.createServer((visitor) => server.accept(visitor)).listen(path);
  await once(listener, 'listening');
  const socket = net.connect(path);
  const [[visitor]] = await Promise.all([once(listener, 'connection'), once(socket, 'connect')]);
  closing.push(async () => {
    socket.destroy();
    coordinator.stopStarting();
    await new Promise((resolve) => listener.close(resolve));
    await backend.close();
  });
  return { backend, desk: await greet(socket), socket, visitor };
}

async function greet(socket: net.Socket): Promise<RemoteDesk> {
  const heard: ConnectionListener[] = [];
  let welcomed!: (welcome: Welcome) => void;
  const welcome = new Promise<Welcome>((resolve) => {
    welcomed = resolve;
  });
  const listener: ConnectionListener = {
    message: (message) => (heard[0] === undefined ? welcomed(message as Welcome) : heard[0].message(message)),
    closed: (error) => heard[0]?.closed(error),
  };
  const bounds = { maxFrameBytes: LIMIT_BYTES, maxUnsentBytes: MAX_UNSENT_BYTES, stopsReading: false };
  const connection = new Connection(socket, listener, bounds);
  connection.send({ kind: 'hello', protocol: PROTOCOL });
  const desk = new RemoteDesk({
    ...{ connection, welcome: await welcome, codecs: new Map(), now: () => systemClock.now() },
  });
  heard.push({ message: (message) => desk.message(message), closed: () => desk.closed() });
  return desk;
}

function batchOf(count: number): { name: string; payload: unknown; options?: object }[] {
  return Array.from({ length: count }, (_, payload) => ({ name: 'echo', payload }));
}

function countsOf({ backend }: Rig): Record<string, number> {
  const counts = backend.inspect!.counts().get('default') ?? {};
  return Object.fromEntries(Object.entries<number>({ ...counts }).filter(([, count]) => count > 0));
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(setImmediate);
}

describe('a batch of a client', () => {
  it('larger than one commit is accepted as a whole, and its receipts name its tasks', async () => {
    const rig = await connect();
    const receipts = await rig.desk.enqueueBatch(batchOf(TASKS));
    expect(receipts.length).toBe(TASKS);
    expect(countsOf(rig)).toEqual({ ready: TASKS });
    expect(await rig.desk.state(receipts[TASKS - 1]!.id)).toBe('ready');
    const claims = await rig.backend.broker.claim(() => 'take', TASKS);
    expect(claims.map(({ id }) => id)).toEqual(receipts.map(({ id }) => id));
  });

  it('is blocked while it arrives, and other calls of the client are answered meanwhile', async () => {
    const rig = await connect();
    const accepted = rig.desk.enqueueBatch(batchOf(60_000));
    await until(() => (countsOf(rig).blocked ?? 0) > 0);
    // It sends no faster than its tasks are stored.
    await until(() => rig.visitor.isPaused());
    await rig.desk.accept(rig.desk.encode('echo', 'here', undefined));
    expect(countsOf(rig)).toMatchObject({ ready: 1 });
    await accepted;
    expect(countsOf(rig)).toEqual({ ready: 60_001 });
  });

  it('leaves nothing when its connection ends in the middle', async () => {
    const rig = await connect();
    const refused = rejection(rig.desk.enqueueBatch(batchOf(200_000)));
    await until(() => (countsOf(rig).blocked ?? 0) > 0);
    rig.socket.destroy();
    expect(await refused).toMatchObject({ code: 'ERR_MILLRACE_DISCONNECTED' });
    await until(() => rig.visitor.destroyed && countsOf(rig).blocked === undefined);
    expect(countsOf(rig)).toEqual({});
    expect((await rig.backend.inspect!.list({}, 10)).tasks).toEqual([]);
  });

  it('leaves nothing when one of its tasks cannot be encoded, and the next one is accepted', async () => {
    const rig = await connect();
    const batch = batchOf(60_000);
    batch[59_999] = { name: 'echo', payload: () => 'a function' };
    expect(await rejection(rig.desk.enqueueBatch(batch))).toMatchObject({
      code: 'ERR_MILLRACE_NOT_ENCODABLE',
    });
    await until(() => countsOf(rig).blocked === undefined);
    await rig.desk.enqueueBatch(batchOf(TASKS));
    expect(countsOf(rig)).toEqual({ ready: TASKS });
  });

  it('leaves nothing when the owner refuses one of its tasks', async () => {
    const rig = await connect();
    const batch = batchOf(60_000);
    batch[59_000] = { name: 'echo', payload: 'x'.repeat(2 * MOST_BYTES + 1) };
    expect(await rejection(rig.desk.enqueueBatch(batch))).toMatchObject({ code: 'ERR_MILLRACE_TOO_LARGE' });
    await until(() => countsOf(rig).blocked === undefined);
    expect(countsOf(rig)).toEqual({});
    await rig.desk.accept(rig.desk.encode('echo', 'here', undefined));
    expect(countsOf(rig)).toEqual({ ready: 1 });
  });

  it('is one of few: the fifth at once is refused, and the others are accepted', async () => {
    const rig = await connect();
    const batches = Array.from({ length: 5 }, () => rig.desk.enqueueBatch(batchOf(TASKS)));
    const [last] = (await Promise.allSettled(batches)).filter(({ status }) => status === 'rejected');
    expect(last).toMatchObject({ reason: { code: 'ERR_MILLRACE_QUEUE_FULL' } });
    await until(() => countsOf(rig).blocked === undefined);
    expect(countsOf(rig)).toEqual({ ready: 4 * TASKS });
  });

  it('takes no unique keys when it is larger than one commit', async () => {
    const rig = await connect();
    const batch = batchOf(TASKS);
    batch[TASKS - 1] = { name: 'echo', payload: 1, options: { unique: { key: 'k' } } };
    expect(await rejection(rig.desk.enqueueBatch(batch))).toMatchObject({ code: 'ERR_MILLRACE_UNSUPPORTED' });
    expect(countsOf(rig)).toEqual({});
  });
});
