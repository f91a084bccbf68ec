/**
 * The host's objects behind `context.services`: one Comlink port per thread. Every function gets a
 * `ServiceCall` as its first argument, so an object must be made for this on purpose; nothing is reachable by
 * accident.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import * as Comlink from 'comlink';
import type { ServiceHost } from '../../workers/protocol.js';
import { StoppedError, UnsupportedError } from '../errors.js';
import type { ServiceCall } from '../task/define-types.js';
import { storeError } from '../task/stored-error.js';
import type { Services } from './pool.js';

/** The host's end of one thread's services. */
export interface ServiceDoor {
  /** The thread's end, to be sent with its first message. */
  readonly port: MessagePort;
  close(): void;
}

/** Finds the running item that a call comes from; `undefined` when it has ended. */
export type FindCaller = (page: number, index: number) => ServiceCall | undefined;

export function openDoor(services: Services, findCaller: FindCaller): ServiceDoor {
  const { port1, port2 } = new MessageChannel();
  const host: ServiceHost = {
    async call(page, index, path, args) {
      try {
        const caller = findCaller(page, index);
        if (caller === undefined) throw new StoppedError('The attempt');
        return { ok: true, value: await callService(services, caller, path, args) };
      } catch (error) {
        return { ok: false, error: storeError(error) };
      }
    },
  };
  Comlink.expose(host, port1 as unknown as Comlink.Endpoint);
  port1.unref();
  return { port: port2, close: () => port1.close() };
}

/** Names that every object has and no service means. */
const BUILT_IN = new Set<string>([
  ...Object.getOwnPropertyNames(Object.prototype),
  ...Object.getOwnPropertyNames(Function.prototype),
  'prototype',
]);

/** Calls the function at `path`. @throws what it throws, or {UnsupportedError} when there is none. */
export function callService(
  services: Services,
  caller: ServiceCall,
  path: readonly string[],
  args: readonly unknown[],
): unknown {
  let owner: unknown;
  let found: unknown = services;
  for (const key of path) {
    owner = found;
    const holds = (typeof owner === 'object' && owner !== null) || typeof owner === 'function';
    found = holds && !BUILT_IN.has(key) ? (owner as Readonly<Record<string, unknown>>)[key] : undefined;
  }
  if (typeof found !== 'function') {
    throw new UnsupportedError(
      `services.${path.join('.')}`,
      'the services given to the runtime have no such function',
    );
  }
  return found.call(owner, caller, ...args);
}
