/**
 * `context.services` in a worker thread: calls of the host through Comlink. Loaded only when there are
 * services.
 */
import type { MessagePort } from 'node:worker_threads';
import * as Comlink from 'comlink';
import { StoppedError } from '../src/errors.js';
import { reviveError } from '../src/task/stored-error.js';
import type { AttemptRun } from './attempt.js';
import type { ServiceHost } from './protocol.js';
import { type ServiceCaller, serviceProxy } from './service-proxy.js';

/** The caller over `port`; the port does not keep the thread alive. */
export function openServices(port: MessagePort): ServiceCaller {
  // Held for as long as the thread lives: a proxy that is collected while a call waits loses the answer
  // (comlink#692).
  const host = Comlink.wrap<ServiceHost>(port as unknown as Comlink.Endpoint);
  port.unref();
  return {
    for: (run) =>
      serviceProxy((path, args) => {
        const reply = callHost(host, run, path, args);
        // A call that nobody waits for must not end the thread when it is refused.
        reply.catch(() => {});
        return reply;
      }),
  };
}

async function callHost(
  host: Comlink.Remote<ServiceHost>,
  run: AttemptRun,
  path: readonly string[],
  args: readonly unknown[],
): Promise<unknown> {
  if (run.isOver) throw new StoppedError('The attempt');
  const reply = await host.call(run.batch.page.id, run.index, path, args);
  if (!reply.ok) throw reviveError(reply.error);
  return reply.value;
}
