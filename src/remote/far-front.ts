/** The front of a process that encodes tasks for an owner elsewhere, by what the owner has said of itself. */
import { Front } from '../run/front.js';
import { Registry } from '../run/registry.js';
import type { Codec } from '../task/codec.js';
import type { Welcome } from './protocol.js';

export function frontOf(welcome: Welcome, codecs: ReadonlyMap<string, Codec>, now: () => number): Front {
  const { handlers, codecs: byQueue, maxPayloadBytes, maxBufferBytes } = welcome;
  const queues = new Map(Object.entries(byQueue).map(([queue, codec]) => [queue, { codec, perThread: 1 }]));
  const registry = new Registry({ queues, hooks: new Map() });
  registry.setHandlers(handlers);
  return new Front({
    ...{ registry, codecs, now, keepsTransfers: false, runsNothing: true },
    limits: { maxBytes: maxPayloadBytes, maxBufferBytes },
    // The owner says in which lane a task waits.
    limiting: { isUsed: false, laneOf: () => undefined },
  });
}
