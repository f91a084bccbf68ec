/**
 * Waiting for an owner to go, within a limit.
 *
 * The wait holds a connection to the owner's socket: the kernel closes it when the owner dies or releases, so
 * the next look comes at once and nothing is polled. Only where there is no connection to hold (the owner's
 * queue is full), or where a live owner keeps closing it, is there a pause before the next look.
 *
 * This file takes nothing over, and does not know what it waits for. A wait keeps the process alive.
 */

import type net from 'node:net';
import { MessageChannel } from 'node:worker_threads';
import type { Clock } from '../clock.js';

/** Longest pause between two looks at the same owner, milliseconds. */
const LOOK_AGAIN_MS = 50;

export class Patience {
  readonly #clock: Clock;
  readonly #deadline: number;
  readonly #signal: AbortSignal | undefined;
  #lastEpoch: number | undefined;
  #pauseMs = 0;

  /** @param waitMs  Limit of all waits together; may be infinite. It begins now. */
  constructor(clock: Clock, waitMs: number, signal: AbortSignal | undefined) {
    this.#clock = clock;
    this.#deadline = clock.monotonic() + waitMs;
    this.#signal = signal;
  }

  isOver(): boolean {
    return this.#clock.monotonic() >= this.#deadline;
  }

  /**
   * Resolves when the owner of `epoch` may have gone, or the limit is reached; closes `connection`.
   * @throws the reason of the signal.
   */
  async waitForEnd(epoch: number, connection: net.Socket | undefined): Promise<void> {
    if (this.#lastEpoch !== epoch) this.#pauseMs = 0;
    this.#lastEpoch = epoch;
    if (connection === undefined) return this.#rest(LOOK_AGAIN_MS);
    const startedAt = this.#clock.monotonic();
    try {
      await this.#rest(Number.POSITIVE_INFINITY, connection);
    } finally {
      connection.destroy();
    }
    if (this.#clock.monotonic() - startedAt >= LOOK_AGAIN_MS) this.#pauseMs = 0;
    else await this.#pause();
  }

  /** Doubles from 1 ms: a dying process may close our connection a moment before its socket. */
  async #pause(): Promise<void> {
    if (this.#pauseMs > 0) await this.#rest(this.#pauseMs);
    this.#pauseMs = Math.min(LOOK_AGAIN_MS, Math.max(1, this.#pauseMs * 2));
  }

  /** Ends after `longestMs`, at the deadline, or when the connection closes. */
  async #rest(longestMs: number, connection?: net.Socket): Promise<void> {
    const signal = this.#signal;
    signal?.throwIfAborted();
    if (connection?.destroyed) return;
    const { promise, resolve, reject } = deferred();
    const abort = () => reject(signal?.reason);
    const disarm = this.#clock.arm(Math.min(longestMs, this.#deadline - this.#clock.monotonic()), resolve);
    const { port1: keepAlive } = new MessageChannel(); // the clock's timers do not keep the process alive
    keepAlive.ref();
    signal?.addEventListener('abort', abort, { once: true });
    connection?.once('close', resolve).resume();
    try {
      await promise;
    } finally {
      signal?.removeEventListener('abort', abort);
      keepAlive.close();
      disarm();
    }
  }
}

/** `Promise.withResolvers`, which Node 20 does not have. */
function deferred(): { promise: Promise<void>; resolve: () => void; reject: (reason: unknown) => void } {
  let resolve: () => void = () => {};
  let reject: (reason: unknown) => void = () => {};
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
