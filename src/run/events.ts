/**
 * What happens to tasks, told to whoever listens: bounded per listener, with the number of events that a slow
 * one missed. Nothing is built when nobody listens. The same steps go to `diagnostics_channel` as
 * `millrace:<kind>`.
 */
import diagnostics from 'node:diagnostics_channel';
import type { FlowId } from '../broker/flows.js';
import type { EpochMs } from '../clock.js';
import type { StoredError } from '../task/stored-error.js';
import type { FinalState, TaskId } from '../task/task.js';
import type { Isolation } from '../task/task-options.js';
import { EventQueue } from './event-queue.js';

interface OfTask {
  readonly taskId: TaskId;
  readonly name: string;
  readonly queue: string;
  readonly at: EpochMs;
}

/** One step of a task or of the runtime. Told after it is flushed, except `progress` and `log`. */
export type RuntimeEvent =
  | ({ readonly kind: 'enqueued' } & OfTask)
  /** Tasks went to a thread or child as one message; they start one after the other, or come back. */
  | {
      readonly kind: 'handed';
      readonly queue: string;
      readonly thread: number;
      readonly isolation: Isolation;
      readonly tasks: number;
      readonly at: EpochMs;
    }
  | ({ readonly kind: 'completed'; readonly attempt: number; readonly runMs: number } & OfTask)
  /** An attempt failed, timed out or crashed and another follows at `nextAttemptAt`. */
  | ({
      readonly kind: 'retrying';
      readonly attempt: number;
      readonly error: StoredError | undefined;
      readonly nextAttemptAt: EpochMs;
    } & OfTask)
  | ({ readonly kind: 'snoozed'; readonly nextAttemptAt: EpochMs } & OfTask)
  | ({ readonly kind: 'dead'; readonly reason: string; readonly error: StoredError | undefined } & OfTask)
  | ({ readonly kind: 'cancelled'; readonly reason: string } & OfTask)
  | ({ readonly kind: 'progress'; readonly progress: unknown } & OfTask)
  | ({ readonly kind: 'log'; readonly message: string } & OfTask)
  /** A schedule's fire was enqueued. */
  | ({ readonly kind: 'fired'; readonly scheduleId: string; readonly fireAt: EpochMs } & OfTask)
  /**
   * Fires of a schedule passed unserved: so many were late, as far as they were counted, and so many of them
   * were made up; or the task of the last one was not final.
   */
  | {
      readonly kind: 'misfired';
      readonly scheduleId: string;
      readonly reason: 'late' | 'overlap';
      readonly missed: number;
      readonly madeUp: number;
      readonly name: string;
      readonly at: EpochMs;
    }
  /** A flow has ended: every task of it is final. */
  | {
      readonly kind: 'flow';
      readonly flowId: FlowId;
      readonly state: FinalState;
      readonly total: number;
      readonly completed: number;
      readonly dead: number;
      readonly cancelled: number;
      readonly at: EpochMs;
    }
  | { readonly kind: 'paused' | 'resumed'; readonly queue: string; readonly at: EpochMs }
  /**
   * A high-water mark is reached, of one queue or, without `queue`, of all; then no more than four fifths of
   * it wait again. The store refuses tasks; then it has room again.
   */
  | {
      readonly kind: 'pressure' | 'relief';
      readonly mark: 'maxWaiting';
      readonly queue: string | undefined;
      readonly waiting: number;
      readonly limit: number;
      readonly at: EpochMs;
    }
  | {
      readonly kind: 'pressure' | 'relief';
      readonly mark: 'maxBytes' | 'minFreeBytes';
      readonly bytes: number;
      readonly limit: number;
      readonly at: EpochMs;
    }
  | { readonly kind: 'fenced'; readonly error: Error; readonly at: EpochMs }
  | {
      readonly kind: 'thread';
      readonly event: string;
      readonly thread: number;
      readonly isolation: Isolation;
      readonly detail: string;
      readonly at: EpochMs;
    }
  /** The listener was too slow: so many events were dropped before the next one. */
  | { readonly kind: 'lagged'; readonly dropped: number; readonly at: EpochMs };

/** What an event can be about. */
export type EventKind = RuntimeEvent['kind'];
export const EVENT_KINDS = [
  'enqueued',
  'handed',
  'completed',
  'retrying',
  'snoozed',
  'dead',
  'cancelled',
  'progress',
  'log',
  'fired',
  'misfired',
  'flow',
  'paused',
  'resumed',
  'pressure',
  'relief',
  'fenced',
  'thread',
  'lagged',
] as const satisfies readonly EventKind[];

/** Which events a listener gets: those to which all that is given applies. */
export interface EventFilter {
  readonly kinds?: readonly EventKind[];
  readonly queue?: string;
  readonly name?: string;
  readonly taskId?: TaskId;
  /** Events kept for this listener; default 1,000. */
  readonly bound?: number;
}

interface Listener {
  readonly filter: EventFilter;
  readonly events: EventQueue;
}

export class Events {
  readonly #listeners = new Set<Listener>();
  readonly #channels = new Map<string, diagnostics.Channel>();
  #isOver = false;

  /** Whether building an event of this kind is worth it. */
  wants(kind: EventKind): boolean {
    return this.#listeners.size > 0 || this.#channel(kind).hasSubscribers;
  }

  tell(event: RuntimeEvent): void {
    const channel = this.#channel(event.kind);
    if (channel.hasSubscribers) channel.publish(event);
    for (const { filter, events } of this.#listeners) if (matches(event, filter)) events.push(event);
  }

  /**
   * Ends when the runtime stops or the caller leaves the loop. Listening begins with the call, not the first
   * step.
   */
  listen(
    filter: EventFilter & { readonly bound: number },
    now: () => EpochMs,
  ): AsyncIterableIterator<RuntimeEvent> {
    const events = new EventQueue(filter.bound, now);
    const listener: Listener = { filter, events };
    if (this.#isOver) events.close();
    else this.#listeners.add(listener);
    return events.read(() => void this.#listeners.delete(listener));
  }

  /** Every listener gets what it has and then ends. */
  close(): void {
    this.#isOver = true;
    for (const { events } of this.#listeners) events.close();
    this.#listeners.clear();
  }

  #channel(kind: string): diagnostics.Channel {
    let channel = this.#channels.get(kind);
    if (channel === undefined) {
      channel = diagnostics.channel(`millrace:${kind}`);
      this.#channels.set(kind, channel);
    }
    return channel;
  }
}

function matches(event: RuntimeEvent, filter: EventFilter): boolean {
  if (filter.kinds !== undefined && !filter.kinds.includes(event.kind)) return false;
  if (filter.queue !== undefined && !('queue' in event && event.queue === filter.queue)) return false;
  if (filter.name !== undefined && !('name' in event && event.name === filter.name)) return false;
  return filter.taskId === undefined || ('taskId' in event && event.taskId === filter.taskId);
}
