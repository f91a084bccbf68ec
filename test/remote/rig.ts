/** An owner without threads and a client of it, over a real socket; both go with the test. */
import { once } from 'node:events';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import type { Backend } from '#src/broker/broker.js';
import { openMemory } from '#src/broker/memory.js';
import { systemClock } from '#src/clock.js';
import { defaultLogger } from '#src/logger.js';
import { validateRuntimeOptions } from '#src/options.js';
import { NoPool } from '#src/pool/no-pool.js';
import { Connection, type ConnectionListener } from '#src/remote/connection.js';
import { receivedError } from '#src/remote/forms.js';
import { MAX_UNSENT_BYTES, PROTOCOL, type Reply, type Welcome } from '#src/remote/protocol.js';
import { RemoteDesk } from '#src/remote/remote-desk.js';
import { Server } from '#src/remote/server.js';
import { Coordinator } from '#src/run/coordinator.js';
import { LocalDesk } from '#src/run/local-desk.js';

/** Of a payload, at the owner; the client is told more. */
export const MOST_BYTES = 1024;
const LIMIT_BYTES = 64 * 1024 * 1024;

/** Calls of a desk have smaller numbers. */
const FIRST_SAID = 1_000_000;

let serial = 0;
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

export interface Rig {
  readonly backend: Backend;
  readonly desk: RemoteDesk;
  /** Sends the parts of a call as they are, and rejects with the error that answers it. */
  readonly say: (verb: string, ...parts: readonly object[]) => Promise<unknown>;
  /** Of the client. */
  readonly socket: net.Socket;
  /** Of the owner. */
  readonly visitor: net.Socket;
}

/** An owner without threads, and one client of it. */
export async function connect(): Promise<Rig> {
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
  const sizes = { maxPayloadBytes: 1024 * 1024, maxBufferBytes: LIMIT_BYTES, whenFull: 'reject' as const };
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
  return { backend, ...(await greet(socket)), socket, visitor };
}

async function greet(socket: net.Socket): Promise<Pick<Rig, 'desk' | 'say'>> {
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
  const answers = new Map<number, (reply: Reply) => void>();
  const message = (reply: unknown): void => {
    answers.get((reply as { readonly call: number }).call)?.(reply as Reply);
    desk.message(reply);
  };
  heard.push({ message, closed: () => desk.closed() });
  const say = async (verb: string, ...parts: readonly object[]): Promise<unknown> => {
    const call = FIRST_SAID + answers.size;
    const answered = new Promise<Reply>((resolve) => answers.set(call, resolve));
    for (const args of parts) connection.send({ kind: 'call', call, verb, ...args });
    const reply = await answered;
    if (reply.kind === 'failed') throw receivedError(reply.error);
    return (reply as { readonly value?: unknown }).value;
  };
  return { desk, say };
}

/** How many tasks of the default queue are in which state; those of which there are none are left out. */
export function countsOf({ backend }: Rig): Record<string, number> {
  const counts = backend.inspect!.counts().get('default') ?? {};
  return Object.fromEntries(Object.entries<number>({ ...counts }).filter(([, count]) => count > 0));
}

export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(setImmediate);
}
