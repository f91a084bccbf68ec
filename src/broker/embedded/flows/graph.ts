/**
 * Who waits for whom: applies the state of a parent to its edges, and lets the children go, or fail, that it
 * decides about. Every step may be done again: it compares what an edge says with what it should say.
 *
 * It walks no fan-out itself; whoever calls takes the edges in slices (`work.ts`).
 */
import { ResultExpiredError } from '../../../errors.js';
import { formatId } from '../../../task/id.js';
import { isFinal } from '../../../task/task.js';
import { readId } from '../claim.js';
import type { Core } from '../core.js';
import { readU48, taskKey, u48 } from '../keys.js';
import { freshAt, type Location, locate } from '../locating.js';
import type { Readying } from '../readying.js';
import { EMPTY, laterKey, sealRecord, type TaskRecord } from '../record.js';
import type { Settling } from '../settling.js';
import { afterPrefix, type Row } from '../tables.js';
import type { FlowBook } from './book.js';
import {
  type Flow,
  fateOf,
  joinState,
  labelPrefix,
  NODE_KEY_CHARS,
  type Node,
  nthOf,
  openNode,
  openParent,
  type ParentState,
  type Position,
  parentKey,
  STATUS,
  type Status,
  sealEdge,
  sealNode,
  statusFor,
  statusOf,
  withStatus,
} from './rows.js';
import type { FlowTelling } from './telling.js';

/** A parent of a task that is being placed or goes round again. */
export interface Parent {
  readonly key: string;
  readonly state: ParentState;
  /** No member of the flow, and not completed. */
  readonly isOutside: boolean;
  readonly positions: readonly Position[];
}

export class FlowGraph {
  readonly telling: FlowTelling;
  readonly #core: Core;
  readonly #book: FlowBook;
  readonly #settling: Settling;
  readonly #readying: Readying;
  /** The state of a parent has changed: its edges are to be walked. */
  walk: (key: string, state: ParentState) => void = () => {};
  /** Tasks that are no members, have not completed, and have children. */
  readonly outside = new Set<string>();

  constructor(core: Core, book: FlowBook, settling: Settling, readying: Readying) {
    this.#core = core;
    this.#book = book;
    this.telling = book.telling;
    this.#settling = settling;
    this.#readying = readying;
  }

  node(key: string): Node | undefined {
    const row = this.#core.tables.get('node', key);
    return row === undefined ? undefined : openNode(row, this.#core.where);
  }

  putNode(key: string, node: Node): void {
    this.#core.tables.put('node', key, sealNode(node));
  }

  /** Of a node of the same flow. */
  #stateOfNode(key: string): ParentState {
    const node = this.node(key);
    if (node !== undefined) return node.kind === 'join' ? joinState(node) : 'open';
    const record = this.#core.getRecord(key);
    return record === undefined ? 'open' : stateOfTask(record);
  }

  /** Of a task that is no member of the flow; `undefined` when it was pruned or deleted. */
  #stateOutside(id: Uint8Array): ParentState | undefined {
    try {
      return stateAt(locate(this.#core, formatId(id)));
    } catch (error) {
      if (error instanceof ResultExpiredError) return undefined;
      throw error;
    }
  }

  /** Puts the edges to a node. @returns what it waits for. */
  link(child: string, kind: Node['kind'], flow: number, parents: readonly Parent[]): Node {
    const node: Node = { kind, flow, open: 0, died: 0 };
    for (const { key, state, positions } of parents) {
      const status = statusFor(state, kind);
      this.#core.tables.put('edge', key + child, sealEdge(status, positions));
      count(node, status, 1);
    }
    return node;
  }

  /** Holds an edge against the state of its parent. */
  apply(state: ParentState, edge: string, row: Uint8Array): void {
    const child = edge.slice(NODE_KEY_CHARS);
    const node = this.node(child);
    if (node === undefined) return;
    const before = statusOf(row, this.#core.where);
    const after = statusFor(state, node.kind);
    if (before === after) return;
    const joinBefore = joinState(node);
    this.#core.tables.put('edge', edge, withStatus(row, after));
    count(node, before, -1);
    count(node, after, 1);
    this.putNode(child, node);
    if (node.kind !== 'join') this.decide(child, node);
    else if (joinBefore !== joinState(node) && this.#isDecided(node)) this.walk(child, joinState(node));
  }

  /** Lets a blocked task go or fail when nothing holds it; a join tells its children what it is. */
  decide(key: string, node: Node): void {
    if (!this.#isDecided(node)) return;
    if (node.kind === 'join') {
      this.walk(key, joinState(node));
      return;
    }
    const fate = fateOf(node);
    if (fate === 'waits') return;
    const record = this.#core.tryRead(() => this.#core.getRecord(key));
    if (record?.state !== 'blocked') return;
    if (fate === 'goes') this.release(record);
    else this.fail(record);
  }

  /** Nothing holds a blocked member any more. It starts once this is flushed. */
  release(record: TaskRecord): void {
    this.unblock(record);
    this.#core.commits.turn.held.add(taskKey(record.segment, record.index));
    this.place(record);
    this.#core.wake();
  }

  /** Makes a member ready, or scheduled when it is to run later. */
  place(record: TaskRecord, lane = record.meta.lane ?? ''): void {
    const { counters, queueNames, tables, now } = this.#core;
    const key = taskKey(record.segment, record.index);
    if (record.runAt <= now()) {
      this.#readying.add(record, lane);
      return;
    }
    record.state = 'scheduled';
    this.telling.due(record.runAt);
    tables.put('task', key, sealRecord(record));
    tables.put('later', laterKey(record), EMPTY);
    counters.add(queueNames.number(record.queue), 'scheduled', 1);
  }

  fail(record: TaskRecord): void {
    this.unblock(record);
    record.reason = 'parent-dead';
    this.#settling.putFinal(record, 'dead', this.#core.now(), Number.POSITIVE_INFINITY);
    this.telling.memberEnded(record, 'dead', record.reason);
  }

  /** A member is not blocked any more; the caller says what it is instead. */
  unblock(record: TaskRecord): void {
    const { counters, queueNames, tables } = this.#core;
    tables.delete('node', taskKey(record.segment, record.index));
    counters.add(queueNames.number(record.queue), 'blocked', -1);
    this.#core.tryRead(() => this.#book.memberBlocked(record.meta.flow!.number, -1));
  }

  /** The parents of a task, as they are now. Bounded: more than a thousand need a join. */
  parentsOf(record: TaskRecord): Parent[] {
    const child = taskKey(record.segment, record.index);
    const { chunks } = this.#book.known(record.meta.flow!.number);
    const parents = new Map<string, Parent & { readonly positions: Position[] }>();
    for (let label = 0; label < record.meta.flow!.labels.length; label++) {
      const prefix = labelPrefix(child, label);
      for (let start = prefix; ; ) {
        const rows = this.#core.tables.range('parent', { start, end: afterPrefix(prefix), limit: 1_000 });
        for (const [key, value] of rows) {
          const parent = keyOfParent(value, this.#core.where);
          let known = parents.get(parent);
          if (known === undefined) {
            known = this.#parentAt(parent, value, child, chunks.includes(readU48(parent, 0)));
            parents.set(parent, known);
          }
          known.positions.push({ label, nth: nthOf(key) });
        }
        if (rows.length < 1_000) break;
        start = `${rows[rows.length - 1]![0]}\0`;
      }
    }
    return [...parents.values()];
  }

  #parentAt(key: string, value: Uint8Array, child: string, isInside: boolean) {
    const positions: Position[] = [];
    if (isInside) return { key, positions, isOutside: false, state: this.#stateOfNode(key) };
    let state = this.#stateOutside(value);
    // What is gone stays what it was.
    state ??= this.#core.tables.get('edge', key + child)?.[0] === STATUS.done ? 'completed' : 'died';
    return { key, positions, isOutside: state !== 'completed', state };
  }

  /** The first edges of a parent. */
  edgesOf(key: string, limit: number): Row[] {
    return this.#core.tables.range('edge', { start: key, end: afterPrefix(key), limit });
  }

  /** Whether something in the same flow waits, or waited, for this member. */
  hasChildrenIn(flow: Flow, key: string): boolean {
    const { chunks } = flow;
    const end = key + u48(chunks[chunks.length - 1]! + 1);
    for (let from = chunks[0]!; ; ) {
      const start = key + u48(from);
      const [row] = this.#core.tables.range('edge', { start, end, limit: 1 });
      if (row === undefined) return false;
      if (isChildIn(flow, row[0])) return true;
      const segment = readU48(row[0], NODE_KEY_CHARS);
      from = chunks.find((chunk) => chunk > segment)!;
    }
  }

  #isDecided({ flow }: Node): boolean {
    const phase = this.#book.get(flow)?.phase;
    return phase === 'running' || phase === 'redriving';
  }
}

/** Whether the child of an edge is in this flow. */
export function isChildIn({ chunks }: Flow, edge: string): boolean {
  return chunks.includes(readU48(edge, NODE_KEY_CHARS));
}

/** The key of a parent. @throws {StoreCorruptError} */
export function keyOfParent(value: Uint8Array, where: string): string {
  const parent = openParent(value, where);
  if ('join' in parent) return parent.join;
  const { segment, index } = readId(parent.id);
  return taskKey(segment, index);
}

/** What a task is to its children, wherever it is. */
export function stateAt(found: Location): ParentState {
  if (found.kind === 'record') return stateOfTask(found.record);
  if (found.kind === 'done') return 'completed';
  return freshAt(found.segment, found.index) === undefined ? 'open' : 'completed';
}

function stateOfTask({ state }: TaskRecord): ParentState {
  if (state === 'completed') return 'completed';
  return isFinal(state) ? 'died' : 'open';
}

export function putParent(core: Core, child: string, position: Position, value: Uint8Array, added = 0): void {
  core.tables.put('parent', parentKey(child, position, added), value);
}

function count(node: Node, status: Status, change: 1 | -1): void {
  if (status !== STATUS.done) node.open += change;
  if (status === STATUS.died) node.died += change;
}
