/**
 * Streams over tasks. Those of Node are in object mode, where `null` ends a stream: no payload and no result
 * can be `null` there. Those of the Web carry it. A stream that is destroyed, aborted or left cancels what is
 * in flight.
 */
import { setMaxListeners } from 'node:events';
import { Duplex, Writable } from 'node:stream';
import {
  CountQueuingStrategy,
  ReadableStream,
  type ReadableStreamDefaultController,
  type ReadableWritablePair,
  WritableStream,
  type WritableStreamDefaultController,
} from 'node:stream/web';
import { InvalidArgumentError, StoppedError } from '../../errors.js';
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

interface TransformSetup extends Setup {
  readonly ordered: boolean;
}

/** Node has it; its types do not. */
type WithSignal = WritableStreamDefaultController & { readonly signal: AbortSignal };

type Run = (payload: unknown, signal: AbortSignal) => Promise<unknown>;

/** What is written are payloads, what is read are results. */
export function transformBy(run: Run, { concurrency, ordered, signal }: TransformSetup): Duplex {
  const channel = new Channel<unknown>();
  const results = new Mapping({ source: channel, run, concurrency, ordered, signal: undefined });
  return new Duplex({
    objectMode: true,
    highWaterMark: Math.min(concurrency, MAX_BUFFERED),
    ...(signal === undefined ? {} : { signal }),
    write(chunk, _encoding, taken) {
      channel.put(chunk, () => taken(), taken as (error: unknown) => void);
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
      // Node tells those who write only when the write that is under way has ended.
      channel.drop(error ?? new StoppedError('The stream'));
      results.return().then(
        () => done(error),
        (failure) => done(error ?? failure),
      );
    },
  });
}

/** The same as a pair of Web streams. The end of either ends the other. */
export function webTransformBy(
  run: Run,
  { concurrency, ordered, signal }: TransformSetup,
): ReadableWritablePair {
  const channel = new Channel<unknown>();
  const results = new Mapping({ source: channel, run, concurrency, ordered, signal });
  const strategy = new CountQueuingStrategy({ highWaterMark: Math.min(concurrency, MAX_BUFFERED) });
  let input!: WithSignal;
  let output!: ReadableStreamDefaultController;
  const end = async (reason: unknown): Promise<void> => {
    output.error(reason);
    // A write that is under way ends the input by its own failure.
    if (!channel.drop(reason) && !input.signal.aborted) input.error(reason);
    await results.return();
  };
  const readable = new ReadableStream(
    {
      start(controller) {
        output = controller;
      },
      async pull() {
        try {
          const { done, value } = await results.next();
          if (done === true) output.close();
          else output.enqueue(value);
        } catch (error) {
          await end(error);
        }
      },
      cancel: end,
    },
    strategy,
  );
  const writable = new WritableStream(
    {
      start(controller) {
        input = controller as WithSignal;
        // Said before the write that is under way has ended, which may never be.
        input.signal.addEventListener('abort', () => void end(input.signal.reason), { once: true });
      },
      write: (chunk) => new Promise<void>((taken, dropped) => channel.put(chunk, taken, dropped)),
      close: () => channel.end(),
    },
    strategy,
  );
  return { readable, writable };
}
