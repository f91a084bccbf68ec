/**
 * The shape of `context.services`: any path of properties is a function of the host. The whole path goes over
 * as one call, because every property of a Comlink proxy is an object with a finalizer of its own.
 */
import type { AttemptRun } from './attempt.js';

/** Gives an attempt its services. */
export interface ServiceCaller {
  for(run: AttemptRun): unknown;
}

export type CallService = (path: readonly string[], args: readonly unknown[]) => Promise<unknown>;

export function serviceProxy(call: CallService, path: readonly string[] = []): unknown {
  return new Proxy(() => {}, {
    get(_target, key) {
      // So that awaiting a service, or returning it from an async function, does not call the host's `then`.
      if (typeof key === 'symbol' || key === 'then') return undefined;
      return serviceProxy(call, [...path, key]);
    },
    apply: (_target, _self, args: unknown[]) => call(path, args),
  });
}
