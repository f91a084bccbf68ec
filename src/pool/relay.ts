/**
 * Threads may boot before anybody can listen to them: what they say goes to whoever is attached by then. They
 * run nothing before that, so there is nothing to keep for later: who attaches looks at the slots, and hands
 * out.
 */
import assert from 'node:assert/strict';
import type { ParentsPage, ParentsRequest } from '../task/parents.js';
import type { TaskId } from '../task/task.js';
import type { EnqueueRequest, FinishedItem, PoolListener, Slot, ThreadEvent } from './pool.js';

export class PoolRelay<Token> implements PoolListener<Token> {
  #listener: PoolListener<Token> | undefined;

  attach(listener: PoolListener<Token>): void {
    this.#listener = listener;
  }

  finished(slot: Slot<Token>, items: readonly FinishedItem<Token>[]): void {
    this.#listener?.finished(slot, items);
  }

  ready(slot: Slot<Token>): void {
    this.#listener?.ready(slot);
  }

  progress(token: Token, value: unknown): void {
    this.#listener?.progress(token, value);
  }

  log(token: Token, at: number, message: string): void {
    this.#listener?.log(token, at, message);
  }

  enqueue(token: Token, request: EnqueueRequest): Promise<TaskId> {
    assert(this.#listener !== undefined, 'a task runs that nobody has handed over');
    return this.#listener.enqueue(token, request);
  }

  parents(token: Token, request: ParentsRequest): Promise<ParentsPage> {
    assert(this.#listener !== undefined, 'a task runs that nobody has handed over');
    return this.#listener.parents(token, request);
  }

  threadEvent(event: ThreadEvent): void {
    this.#listener?.threadEvent(event);
  }
}
