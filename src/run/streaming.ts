/**
 * Node streams over tasks, in object mode; Node itself makes Web streams of them. A destroyed stream cancels
 * what is in flight. `null` ends a stream, so no payload and no result can be `null` here.
 */
import { setMaxListeners } from 'node:events';
import { Duplex, Writable } from 'node:stream';
import { InvalidArgumentError } from '../errors.js';
import { Channel } from './channel.js';
import { Mapping } from './mapping.js';

/** Chunks that wait on either side of a transform, at most; as Node's own object streams. */
const MAX_BUFFERED = 16;

interface Setup {
  readonly concurrency: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * What is written is enqueued, up to `concurrency` at once. A chunk is written when its task is accepted.
 * @param enqueue  The signal ends its wait for room.
 */
export function writableTo(
  enqueue: (payload: unknown, signal: AbortSignal) => Promise<unknown>,
  { concurrency, signal }: Setup,
): Writable {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  const enqueueAll = async (payloads: readonly unknown[]): Promise<void> => {
    for (let at = 0; at < payloads.length; at += concurrency) {
      const slice = payloads.slice(at, at + concurrency);
      await Promise.all(slice.map((payload) => enqueue(payload, controller.signal)));
    }
  };
  return new Writable({
    objectMode: true,
    highWaterMark: concurrency,
    ...(signal === undefined ? {} : { signal }),
    write(chunk, _encoding, done) {
      enqueueAll([chunk]).then(() => done(), done);
    },
    writev(chunks, done) {
      enqueueAll(chunks.map(({ chunk }) => chunk)).then(() => done(), done);
    },
    destroy(error, done) {
      controller.abort(error ?? undefined);
      done(error);
    },
  });
}

/** What is written are payloads, what is read are results. */
export function transformBy(
  run: (payload: unknown, signal: AbortSignal) => Promise<unknown>,
  { concurrency, ordered, signal }: Setup & { readonly ordered: boolean },
): Duplex {
  const channel = new Channel<unknown>();
  const results = new Mapping({ source: channel, run, concurrency, ordered, signal: undefined });
  return new Duplex({
    objectMode: true,
    highWaterMark: Math.min(concurrency, MAX_BUFFERED),
    ...(signal === undefined ? {} : { signal }),
    write(chunk, _encoding, taken) {
      channel.put(chunk, taken);
    },
    final(done) {
      channel.end();
      done();
    },
    read() {
      results.next().then(
        ({ done, value }) => {
          if (done === true) this.push(null);
          else if (value !== null) this.push(value);
          else this.destroy(new InvalidArgumentError('result', 'other than null, which ends a stream'));
        },
        (error) => this.destroy(error),
      );
    },
    destroy(error, done) {
      results.return().then(
        () => done(error),
        (failure) => done(error ?? failure),
      );
    },
  });
}
