/**
 * What is being put together for one slot: how much is worth one message, and which tasks may share it. It
 * looks at nothing but the tasks and their rules; whether a task may run at all is the dispatcher's business.
 */
import type { Head } from '../broker/broker.js';
import type { Permit } from '../limit/limits.js';
import type { Slot } from '../pool/pool.js';
import type { QueueRule } from './registry.js';
import type { RunningItem } from './running-item.js';

const MAX_BATCH_TASKS = 256;
const MAX_BATCH_BYTES = 256 * 1024;
const SHORT_BATCH_MS = 1;
const LONG_BATCH_MS = 10;
/** The backlog is deep when it would keep every slot busy for longer than this. */
const DEEP_MS = 50;

export class Fill {
  /** Of an idle place it becomes the side that its first task needs. */
  slot: Slot<RunningItem>;
  isReady: boolean;
  readonly most: number;
  /** Something runs there, in parallel with which this will run. */
  readonly isParallelSlot: boolean;
  parallelQueue: QueueRule | undefined;
  count = 0;
  /** What the one task of it has taken of its limits. */
  permit: Permit | undefined;
  #targetMs = SHORT_BATCH_MS;
  #ms = 0;
  #bytes = 0;
  #isAlone = false;
  /** Of the first task. */
  #rule: QueueRule | undefined;
  readonly #perSlot: number;

  /** @param perSlot  How many tasks wait for each slot. */
  constructor(slot: Slot<RunningItem>, perSlot: number, parallelQueue: QueueRule | undefined) {
    this.slot = slot;
    this.isReady = slot.isReady;
    this.#perSlot = perSlot;
    this.most = Math.max(1, Math.min(MAX_BATCH_TASKS, Math.ceil(perSlot)));
    this.parallelQueue = parallelQueue;
    this.isParallelSlot = parallelQueue !== undefined;
  }

  turnTo(child: Slot<RunningItem>): void {
    this.slot = child;
    this.isReady = child.isReady;
  }

  /**
   * Takes a task, or says that it does not go together with what is there.
   * @param isCounted  It takes permits, which is to be when it starts: alone, on an idle thread.
   */
  take(head: Head, rule: QueueRule, expectedMs: number, isCounted: boolean): 'take' | 'stop' {
    const isParallel = rule.perThread > 1;
    const { bodyBytes } = head;
    if (this.isParallelSlot && this.parallelQueue !== rule) return 'stop';
    if (!this.isParallelSlot && isParallel && this.slot.batches.length > 0) return 'stop';
    // Whoever shares a thread with a suspect would share its blame.
    if (head.suspect && this.slot.batches.length > 0) return 'stop';
    if (isCounted && !this.isParallelSlot && this.slot.batches.length > 0) return 'stop';
    // What was moved in has no body; its buffers go with a message of their own.
    const goesAlone = isParallel || head.suspect || isCounted || bodyBytes === 0;
    if (this.count > 0) {
      if (this.#isAlone || goesAlone) return 'stop';
      // A batch stands for one limited queue, or for none: threads are counted by their batches.
      if (this.#rule !== rule && (isLimited(rule) || isLimited(this.#rule))) return 'stop';
      if (this.#ms + expectedMs > this.#targetMs) return 'stop';
      if (this.#bytes + bodyBytes > MAX_BATCH_BYTES) return 'stop';
    } else {
      this.#rule = rule;
      if (this.#perSlot * expectedMs > DEEP_MS) this.#targetMs = LONG_BATCH_MS;
    }
    this.count++;
    this.#ms += expectedMs;
    this.#bytes += bodyBytes;
    this.#isAlone = goesAlone;
    if (isParallel) this.parallelQueue = rule;
    return 'take';
  }
}

/** Whether threads of the queue are counted. */
export function isLimited(rule: QueueRule | undefined): boolean {
  return rule !== undefined && rule.maxThreads !== Number.POSITIVE_INFINITY;
}
