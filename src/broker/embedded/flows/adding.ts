/**
 * Tasks that a handler adds to its own flow, in the commit of its settlement: what waits for the handler's
 * task waits for them, too, and finds their results behind that of the handler's task.
 */
import type { FinalState, NewTask } from '../../../task/task.js';
import { MAX_FLOW_NODES } from '../../flows.js';
import { readId } from '../claim.js';
import type { Core } from '../core.js';
import { taskKey } from '../keys.js';
import type { TaskRecord } from '../record.js';
import { afterPrefix, type Row } from '../tables.js';
import type { Uniques } from '../uniques.js';
import type { FlowBook } from './book.js';
import { type FlowGraph, putParent } from './graph.js';
import { newMember, stateOutside } from './members.js';
import {
  addedOf,
  NODE_KEY_CHARS,
  type ParentState,
  type Position,
  parentKey,
  positionsOf,
  STATUS,
  sealEdge,
  withPositions,
} from './rows.js';
import type { FlowWork } from './work.js';

/** Edges that one settlement may add: some 8 microseconds each, in one turn of the event loop. */
const MAX_ADDED_EDGES = 20_000;

export class FlowAdding {
  readonly #core: Core;
  readonly #book: FlowBook;
  readonly #graph: FlowGraph;
  readonly #work: FlowWork;
  readonly #uniques: Uniques;

  constructor(core: Core, book: FlowBook, graph: FlowGraph, work: FlowWork, uniques: Uniques) {
    this.#core = core;
    this.#book = book;
    this.#graph = graph;
    this.#work = work;
    this.#uniques = uniques;
  }

  /** Whether the flow takes so many more members from this one. */
  hasRoomFor(record: TaskRecord, count: number): boolean {
    const { nodes } = this.#book.known(record.meta.flow!.number);
    if (nodes + count > MAX_FLOW_NODES) return false;
    const most = Math.floor(MAX_ADDED_EDGES / count);
    return this.#edgesOf(record, most + 1).length <= most;
  }

  /** @returns the members that came in; those whose unique key was taken are parents only. */
  add(by: TaskRecord, tasks: readonly NewTask[]): TaskRecord[] {
    const edges = this.#edgesOf(by, MAX_ADDED_EDGES);
    const members: TaskRecord[] = [];
    for (const task of tasks) {
      const holder = this.#holderOf(task);
      if (holder === undefined) {
        const record = this.#member(by, task);
        members.push(record);
        this.#link(edges, record.idBytes, 'open');
        this.#place(record, task);
      } else {
        this.#core.blobs?.drop(task.body);
        if (edges.length > 0) this.#core.tryRead(() => this.#await(by, edges, holder));
      }
    }
    return members;
  }

  /** The children of the edges wait for a task that was there before, of this flow or not, final or not. */
  #await(by: TaskRecord, edges: readonly Row[], holder: Uint8Array): void {
    const { segment, index } = readId(holder);
    const key = taskKey(segment, index);
    const state = this.#core.tryRead(() => stateOutside(this.#core, this.#book, holder)) ?? 'died';
    const flow = this.#book.known(by.meta.flow!.number);
    const isMember = flow.chunks.includes(segment);
    if (!isMember && state !== 'completed') this.#work.awaitOutside(key);
    const wasEnd = isMember && state === 'died' && !this.#graph.hasChildrenIn(flow, key);
    this.#link(edges, holder, state);
    if (!wasEnd || !this.#graph.hasChildrenIn(flow, key)) return;
    this.#book.endAwaited(flow.number, this.#core.getRecord(key)!.state as FinalState);
  }

  #member(by: TaskRecord, task: NewTask): TaskRecord {
    const { number } = by.meta.flow!;
    const record = newMember(this.#core, this.#book, number, task, {
      number,
      labels: [],
      whenParentDies: 'fail',
    });
    this.#book.memberAdded(number, false);
    if (task.unique !== undefined) {
      this.#uniques.take(task.name, task.unique, record.idBytes, this.#core.now());
    }
    return record;
  }

  /** Starts once the settlement is flushed. */
  #place(record: TaskRecord, task: NewTask): void {
    this.#core.commits.turn.held.add(keyOf(record));
    this.#graph.place(record, task.unhandled === true ? task.name : undefined);
  }

  #holderOf(task: NewTask): Uint8Array | undefined {
    if (task.unique === undefined) return undefined;
    const holder = this.#uniques.holder(task.name, task.unique.key)?.slice();
    if (holder === undefined || task.unique.onConflict !== 'replace') return holder;
    this.#uniques.replace(holder);
    return undefined;
  }

  #edgesOf(record: TaskRecord, limit: number): Row[] {
    const key = keyOf(record);
    return this.#core.tables.range('edge', { start: key, end: afterPrefix(key), limit });
  }

  /** The children of the edges wait for one more. */
  #link(edges: readonly Row[], id: Uint8Array, state: ParentState): void {
    const parent = keyOf(readId(id));
    for (const [edge, row] of edges) {
      const child = edge.slice(NODE_KEY_CHARS);
      this.#core.tryRead(() => this.#linkTo(child, positionsOf(row), parent, id, state));
    }
  }

  #linkTo(
    child: string,
    positions: readonly Position[],
    parent: string,
    id: Uint8Array,
    state: ParentState,
  ): void {
    const { tables } = this.#core;
    for (const position of positions) {
      const first = parentKey(child, position);
      const range = { start: first, end: `${first.slice(0, -4)}\xff\xff\xff\xff`, limit: 1, reverse: true };
      const [last] = tables.range('parent', range);
      putParent(this.#core, child, position, id, last === undefined ? 1 : addedOf(last[0]) + 1);
    }
    const before = tables.get('edge', parent + child);
    if (before !== undefined) {
      // It waits for that one already.
      tables.put('edge', parent + child, withPositions(before, positions));
      return;
    }
    const node = this.#graph.node(child);
    const added = sealEdge(node === undefined ? STATUS.done : STATUS.open, positions);
    tables.put('edge', parent + child, added);
    if (node === undefined) return;
    this.#graph.putNode(child, { ...node, open: node.open + 1 });
    this.#graph.apply(state, parent + child, added);
  }
}

function keyOf({ segment, index }: { readonly segment: number; readonly index: number }): string {
  return taskKey(segment, index);
}
