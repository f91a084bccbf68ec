/**
 * What piscina loads in each worker thread. It imports nothing of the user's: the first message (`hello`)
 * does, so that a module that throws is reported instead of killing the thread at birth.
 */
import type { MessagePort } from 'node:worker_threads';
import { processClock } from './process-clock.js';
import type { Command, HelloMessage, LoadReply, ThreadMessage } from './protocol.js';
import { Session } from './session.js';

const session = new Session({
  now: processClock(),
  wallNow: () => Date.now(),
  importModule: (url) => import(url),
});

/** Least time between two looks at the thread's memory. */
const MEMORY_EVERY_MS = 100;

/** Called by piscina for every message; the answer resolves the host's `run`. */
export default function receive(message: ThreadMessage): Promise<unknown> {
  return message.kind === 'hello' ? greet(message) : session.receive(message);
}

async function greet(message: HelloMessage): Promise<LoadReply> {
  const { port, servicesPort, ...hello } = message;
  // Only when there are services: boot stays light.
  const services =
    servicesPort === undefined ? undefined : (await import('./services.js')).openServices(servicesPort);
  port.on('message', (command: Command) => session.command(command));
  port.unref();
  const afterBatch = hello.watchMemory ? memoryWatch(hello.status) : () => {};
  return session.connect(hello, (note, list) => postTo(port, note, list), services, afterBatch);
}

function postTo(port: MessagePort, note: unknown, list: readonly ArrayBuffer[] = []): void {
  port.postMessage(note, [...list]);
}

/** Says in shared memory how much heap and buffers this thread holds. */
function memoryWatch(status: SharedArrayBuffer): () => void {
  const view = new Float64Array(status);
  let lookedAt = Number.NEGATIVE_INFINITY;
  return () => {
    const now = session.now();
    if (now - lookedAt < MEMORY_EVERY_MS) return;
    lookedAt = now;
    const { heapUsed, external } = process.memoryUsage();
    // `arrayBuffers` is part of `external`.
    view[0] = heapUsed + external;
  };
}
