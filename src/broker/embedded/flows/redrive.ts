/**
 * Sends members of flows round again, one at a time: what they wait for is computed anew from their parents
 * as they are now, and their children wait for them again.
 */
import { WrongStateError } from '../../../errors.js';
import { formatId } from '../../../task/id.js';
import { type FinalState, FRESH } from '../../../task/task.js';
import { type Core, finalKey } from '../core.js';
import { taskKey } from '../keys.js';
import { sealRecord, type TaskRecord } from '../record.js';
import type { FlowBook } from './book.js';
import type { FlowGraph, Parent } from './graph.js';
import { fateOf, type Node, STATUS, statusFor } from './rows.js';

export class FlowRedrives {
  readonly #core: Core;
  readonly #book: FlowBook;
  readonly #graph: FlowGraph;
  readonly #takeUnique: (record: TaskRecord) => void;
  readonly #awaitOutside: (key: string) => void;

  /**
   * @param takeUnique  Takes the unique key of a task again. Throws {DuplicateTaskError}.
   * @param awaitOutside  A task that is no member has children again.
   */
  constructor(
    core: Core,
    book: FlowBook,
    graph: FlowGraph,
    takeUnique: (record: TaskRecord) => void,
    awaitOutside: (key: string) => void,
  ) {
    this.#core = core;
    this.#book = book;
    this.#graph = graph;
    this.#takeUnique = takeUnique;
    this.#awaitOutside = awaitOutside;
  }

  /** One dead or cancelled member; its flow goes on. @throws {WrongStateError} {@link DuplicateTaskError} */
  redrive(record: TaskRecord): void {
    const id = formatId(record.idBytes);
    const { phase } = this.#book.known(record.meta.flow!.number);
    if (phase === 'cancelling')
      throw new WrongStateError(id, 'a member of a flow that is cancelled', 'redriven');
    if (phase === 'deleted') throw new WrongStateError(id, 'a member of a flow that is deleted', 'redriven');
    const parents = this.#graph.parentsOf(record);
    if (fails(record, parents)) throw new WrongStateError(id, 'dead with its parent', 'redriven before it');
    this.#takeUnique(record);
    this.#redrive(record, parents);
  }

  /** As one of many: what cannot go round stays as it is. @returns how many parents were looked at. */
  redriveIfItCan(record: TaskRecord): number {
    const parents = this.#graph.parentsOf(record);
    if (fails(record, parents)) return parents.length;
    try {
      this.#takeUnique(record);
    } catch {
      return parents.length;
    }
    this.#redrive(record, parents);
    return parents.length;
  }

  #redrive(record: TaskRecord, parents: readonly Parent[]): void {
    const { tables, counters, queueNames } = this.#core;
    const key = taskKey(record.segment, record.index);
    const { number, whenParentDies } = record.meta.flow!;
    const state = record.state as FinalState;
    const queue = queueNames.number(record.queue);
    tables.delete('final', finalKey(state, queue, record.settledAt, key));
    counters.add(queue, state, -1);
    this.#goesOn(number);
    this.#book.memberEnded(number, state, !this.#graph.hasChildrenIn(this.#book.known(number), key), -1);
    record.tally = FRESH;
    record.reason = '';
    record.settledAt = record.expiresAt = 0;
    const node = this.#graph.link(key, whenParentDies, number, parents);
    for (const parent of parents) if (parent.isOutside) this.#awaitOutside(parent.key);
    if (fateOf(node) === 'goes') {
      this.#graph.place(record);
      this.#core.wake();
    } else this.#block(key, record, node);
    if (this.#graph.edgesOf(key, 1).length > 0) this.#graph.walk(key, 'open');
  }

  #block(key: string, record: TaskRecord, node: Node): void {
    record.state = 'blocked';
    this.#core.tables.put('task', key, sealRecord(record));
    this.#core.counters.add(this.#core.queueNames.number(record.queue), 'blocked', 1);
    this.#book.memberBlocked(record.meta.flow!.number, 1);
    this.#graph.putNode(key, node);
  }

  /** A final flow is not final any more. */
  #goesOn(number: number): void {
    const { phase } = this.#book.known(number);
    if (phase === 'running' || phase === 'redriving') return;
    this.#book.change(number, { phase: 'running', reason: '', settledAt: 0, expiresAt: 0 });
  }
}

function fails(record: TaskRecord, parents: readonly Parent[]): boolean {
  const { whenParentDies } = record.meta.flow!;
  if (whenParentDies !== 'fail') return false;
  return parents.some(({ state }) => statusFor(state, whenParentDies) === STATUS.died);
}
