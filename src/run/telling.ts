/**
 * Tells the runtime's listeners, and its log, what happens to tasks and threads. Builds nothing that nobody
 * listens to.
 */
import type { Claim, Settlement, Ticket } from '../broker/broker.js';
import type { RuntimeOptions } from '../options/types.js';
import type { ThreadEvent } from '../pool/pool.js';
import type { Decision } from '../schedule/decide.js';
import type { NewTask, TaskView } from '../task/task.js';
import type { Events } from './events.js';
import type { RunningBatch } from './running-item.js';
import { eventOf, SETTLEMENT_KINDS } from './settlement-event.js';

export class Telling {
  readonly #events: Events;
  readonly #clock: RuntimeOptions['clock'];
  readonly #logger: RuntimeOptions['logger'];

  constructor(events: Events, { clock, logger }: Pick<RuntimeOptions, 'clock' | 'logger'>) {
    this.#events = events;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Whether anybody listens to how tasks end. */
  get hasListeners(): boolean {
    return SETTLEMENT_KINDS.some((kind) => this.#events.wants(kind));
  }

  enqueued(tickets: readonly Ticket[], tasks: readonly NewTask[]): void {
    if (!this.#events.wants('enqueued')) return;
    const at = this.#clock.now();
    for (let of = 0; of < tickets.length; of++) {
      const { name, queue } = tasks[of]!;
      this.#events.tell({ kind: 'enqueued', taskId: tickets[of]!.id, name, queue, at });
    }
  }

  /** The tasks of a schedule's fires were accepted. */
  fired(tasks: readonly NewTask[], tickets: readonly Ticket[]): void {
    this.enqueued(tickets, tasks);
    if (!this.#events.wants('fired')) return;
    const at = this.#clock.now();
    for (const [of, { name, queue, schedule }] of tasks.entries()) {
      const { id: scheduleId, fireAt } = schedule!;
      this.#events.tell({ kind: 'fired', scheduleId, fireAt, taskId: tickets[of]!.id, name, queue, at });
    }
  }

  /** What a schedule has decided; of fires that were enqueued after {@link Telling.fired}. */
  decided(scheduleId: string, name: string, { missed, madeUp, isOverlap }: Decision): void {
    if ((missed === 0 && !isOverlap) || !this.#events.wants('misfired')) return;
    const of = { scheduleId, name, at: this.#clock.now() };
    if (missed > 0) this.#events.tell({ kind: 'misfired', reason: 'late', missed, madeUp, ...of });
    if (isOverlap) this.#events.tell({ kind: 'misfired', reason: 'overlap', missed: 1, madeUp: 0, ...of });
  }

  paused(queue: string, isPaused: boolean): void {
    const kind = isPaused ? 'paused' : 'resumed';
    if (this.#events.wants(kind)) this.#events.tell({ kind, queue, at: this.#clock.now() });
  }

  handed({ queue, batch, items }: RunningBatch): void {
    if (!this.#events.wants('handed')) return;
    const at = this.#clock.now();
    const { index: thread, isolation } = batch.slot;
    this.#events.tell({ kind: 'handed', queue, thread, isolation, tasks: items.length, at });
  }

  settled(settlements: readonly Settlement[]): void {
    if (!this.hasListeners) return;
    const now = this.#clock.now();
    for (const settlement of settlements) {
      const event = eventOf(settlement, now);
      if (event !== undefined && this.#events.wants(event.kind)) this.#events.tell(event);
    }
  }

  cancelled({ id, name, queue }: Pick<TaskView, 'id' | 'name' | 'queue'>, at: number, reason: string): void {
    if (!this.#events.wants('cancelled')) return;
    this.#events.tell({ kind: 'cancelled', reason, taskId: id, name, queue, at });
  }

  progress(claim: Claim, progress: unknown): void {
    if (this.#events.wants('progress')) this.#events.tell({ kind: 'progress', progress, ...this.#of(claim) });
  }

  log(claim: Claim, message: string): void {
    if (this.#events.wants('log')) this.#events.tell({ kind: 'log', message, ...this.#of(claim) });
  }

  thread(event: ThreadEvent): void {
    const { kind, slot: thread, isolation } = event;
    const what = isolation === 'thread' ? 'worker thread' : 'child process';
    const detail = 'detail' in event ? event.detail : '';
    if (kind === 'exited' && !event.expected) {
      this.#logger.warn({ thread, cause: event.cause }, `a ${what} died and is replaced`);
    }
    if (kind === 'lost') this.#logger.warn({ thread }, `a ${what} is stuck in native code`);
    if (this.#events.wants('thread')) {
      const at = this.#clock.now();
      this.#events.tell({ kind: 'thread', event: kind, thread, isolation, detail, at });
    }
  }

  fenced(error: Error): void {
    this.#logger.error(
      { error: error.message },
      'the store is fenced: nothing is accepted or started any more',
    );
    if (this.#events.wants('fenced')) this.#events.tell({ kind: 'fenced', error, at: this.#clock.now() });
  }

  #of(claim: Claim) {
    return { taskId: claim.id, name: claim.name, queue: claim.queue, at: this.#clock.now() };
  }
}
