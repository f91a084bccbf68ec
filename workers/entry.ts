/**
 * What piscina loads in each worker thread. It imports nothing of the user's: the first message (`hello`)
 * does, so that a module that throws is reported instead of killing the thread at birth.
 */
import type { MessagePort } from 'node:worker_threads';
import { memoryWatch } from './memory-watch.js';
import { processClock } from './process-clock.js';
import type { Command, HelloMessage, LoadReply, ThreadMessage } from './protocol.js';
import { Session } from './session.js';

const session = new Session({
  now: processClock(),
  wallNow: () => Date.now(),
  importModule: (url) => import(url),
});

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
  const status = new Float64Array(hello.status);
  const tell = (bytes: number): void => {
    status[0] = bytes;
  };
  const afterBatch = hello.watchMemory ? memoryWatch(() => session.now(), tell) : () => {};
  return session.connect(hello, (note, list) => postTo(port, note, list), services, afterBatch);
}

function postTo(port: MessagePort, note: unknown, list: readonly ArrayBuffer[] = []): void {
  port.postMessage(note, [...list]);
}
