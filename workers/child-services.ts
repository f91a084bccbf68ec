/** `context.services` in a child process: calls of the host over the pipes. Bounds what one call carries. */
import { deserialize, serialize } from 'node:v8';
import { StoppedError, TooLargeError } from '../src/errors.js';
import { reviveError } from '../src/task/stored-error.js';
import type { AttemptRun } from './attempt.js';
import type { FromChild, ServedMessage } from './child-protocol.js';
import { type ServiceCaller, serviceProxy } from './service-proxy.js';

/** Of a frame, beside its arguments. */
const FRAME_BYTES = 65_536;

export class ChildServices implements ServiceCaller {
  maxFrameBytes = 0;
  readonly #send: (message: FromChild) => void;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #calls = 0;

  constructor(send: (message: FromChild) => void) {
    this.#send = send;
  }

  for(run: AttemptRun): unknown {
    return serviceProxy((path, args) => {
      const reply = this.#call(run, path, args);
      // A call that nobody waits for must not end the process when it is refused.
      reply.catch(() => {});
      return reply;
    });
  }

  served(message: ServedMessage): void {
    const waiting = this.#waiting.get(message.call);
    this.#waiting.delete(message.call);
    if (message.ok) waiting?.resolve(this.read(message.value));
    else waiting?.reject(reviveError(message.error));
  }

  /** A value that the host has serialized. */
  read(bytes: Uint8Array): unknown {
    return deserialize(bytes);
  }

  async #call(run: AttemptRun, path: readonly string[], given: readonly unknown[]): Promise<unknown> {
    if (run.isOver) throw new StoppedError('The attempt');
    const args = new Uint8Array(serialize(given));
    const most = this.maxFrameBytes - FRAME_BYTES;
    if (args.length > most) throw new TooLargeError('call of a service', args.length, most);
    const call = ++this.#calls;
    const answer = new Promise<unknown>((resolve, reject) => this.#waiting.set(call, { resolve, reject }));
    this.#send({ kind: 'service', call, place: run.batch.page.id, path, args });
    return answer;
  }
}
