/** What flows say to the settlement of a member: how it really ends, and what it adds to its flow. */
import type { NewTask } from '../../../task/task.js';
import type { Settlement } from '../../broker.js';
import type { Core } from '../core.js';
import { taskKey } from '../keys.js';
import type { TaskRecord } from '../record.js';
import type { FlowAdding } from './adding.js';
import type { FlowBook } from './book.js';
import type { FlowErrands } from './errands.js';

type Ending = Exclude<Settlement, { kind: 'released' }>;

export class FlowSettling {
  readonly #core: Core;
  readonly #book: FlowBook;
  readonly #adding: FlowAdding;
  readonly #errands: FlowErrands;

  constructor(core: Core, book: FlowBook, adding: FlowAdding, errands: FlowErrands) {
    this.#core = core;
    this.#book = book;
    this.#adding = adding;
    this.#errands = errands;
  }

  /** How the claim of a member really ends. */
  settlementOf(record: TaskRecord, settlement: Settlement): Settlement {
    const flow = this.#core.tryRead(() => this.#book.get(record.meta.flow!.number));
    if (flow === undefined) return settlement;
    const { claim } = settlement;
    const isBack = settlement.kind === 'released' || settlement.kind === 'scheduled';
    const { phase, reason } = flow;
    const final = { tally: claim.tally, settledAt: this.#core.now(), expiresAt: 0 };
    if (isBack && phase === 'cancelling') {
      return { ...final, ...withoutNext(settlement), kind: 'cancelled', reason, claim } as Settlement;
    }
    if (settlement.kind === 'released') return settlement;
    const added = settlement.next?.filter(({ inFlow }) => inFlow === true).length ?? 0;
    if (added === 0 || this.#adding.hasRoomFor(record, added)) return settlement;
    return { ...final, ...withoutNext(settlement), kind: 'dead', reason: 'flow-full', claim } as Settlement;
  }

  /** Takes in what a member adds to its flow. @returns what is no concern of flows. */
  add(by: TaskRecord, tasks: readonly NewTask[]): readonly NewTask[] {
    const added = tasks.filter(({ inFlow }) => inFlow === true);
    const flow = this.#core.tryRead(() => this.#book.get(by.meta.flow!.number));
    if (added.length === 0 || flow === undefined) return tasks;
    const members = this.#adding.add(by, added);
    const { phase, reason } = flow;
    if (phase === 'cancelling') {
      for (const each of members) this.#errands.cancelMember(taskKey(each.segment, each.index), each, reason);
    }
    return tasks.filter(({ inFlow }) => inFlow !== true);
  }
}

function withoutNext(settlement: Settlement): Omit<Ending, 'next'> {
  const { next: _next, ...rest } = settlement as Ending;
  return rest;
}
