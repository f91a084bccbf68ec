/** A pool without threads: everything is accepted and nothing ever runs (`dummy:`). */
import type { HandlerInfo, Pool, Slot } from './pool.js';

export class NoPool<Token> implements Pool<Token> {
  readonly slots: readonly Slot<Token>[] = [];
  readonly children: readonly Slot<Token>[] = [];
  readonly handlers: readonly HandlerInfo[] = [];

  warm(): void {}
  start(): Promise<void> {
    return Promise.resolve();
  }
  register(): Promise<readonly HandlerInfo[]> {
    return Promise.resolve([]);
  }
  resize(): Promise<void> {
    return Promise.resolve();
  }
  stop(): Promise<{ readonly lostThreads: number }> {
    return Promise.resolve({ lostThreads: 0 });
  }
}
