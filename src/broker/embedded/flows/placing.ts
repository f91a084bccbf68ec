/**
 * Puts the nodes of a flow into the tables, one after another. Every member comes in as blocked, but those of
 * a small flow that wait for nothing: they are handed back, to be made ready once all of it is there.
 */
import { ID_BYTES, parseId } from '../../../task/id.js';
import type { NewTask } from '../../../task/task.js';
import type { From, JoinNode, TaskNode } from '../../flows.js';
import { readId } from '../claim.js';
import type { Core } from '../core.js';
import { taskKey } from '../keys.js';
import { sealRecord, type TaskRecord } from '../record.js';
import type { Uniques } from '../uniques.js';
import type { FlowBook } from './book.js';
import { type FlowGraph, type Parent, putParent } from './graph.js';
import { newMember, nextPlace, stateOutside } from './members.js';
import {
  joinState,
  type Node,
  nodeKey,
  type Position,
  STATUS,
  sealEdge,
  statusFor,
  withPositions,
} from './rows.js';
import type { FlowWork } from './work.js';

const IDS_PER_CHUNK = 16_384;

/** Ids by place, 16 bytes each. */
export class NodeIds {
  readonly #chunks: Uint8Array[] = [];
  length = 0;

  add(id: Uint8Array | undefined): void {
    const at = this.length++ % IDS_PER_CHUNK;
    if (at === 0) this.#chunks.push(new Uint8Array(IDS_PER_CHUNK * ID_BYTES));
    if (id !== undefined) this.#chunks[this.#chunks.length - 1]!.set(id, at * ID_BYTES);
  }

  at(place: number): Uint8Array {
    const start = (place % IDS_PER_CHUNK) * ID_BYTES;
    return this.#chunks[Math.floor(place / IDS_PER_CHUNK)]!.subarray(start, start + ID_BYTES);
  }
}

/** A member that is to be made ready. */
export interface Root {
  readonly record: TaskRecord;
  readonly task: NewTask;
}

export class FlowPlacing {
  readonly ids = new NodeIds();
  /** Places whose task was there before, by a unique key; it may be an earlier one of this flow. */
  readonly outside = new Set<number>();
  /** Handed back; empty when the flow is staged. */
  readonly roots: Root[] = [];
  /**
   * Keys of nodes that may be decided when all is there: those of dead parents, and of tasks that a later
   * node may replace. Not kept when the flow is staged.
   */
  readonly due: string[] = [];
  readonly #core: Core;
  readonly #book: FlowBook;
  readonly #graph: FlowGraph;
  readonly #work: FlowWork;
  readonly #uniques: Uniques;
  readonly #flow: number;
  readonly #isStaged: boolean;
  readonly joins = new Set<number>();
  readonly #now: number;

  constructor(
    parts: { core: Core; book: FlowBook; graph: FlowGraph; work: FlowWork; uniques: Uniques },
    flow: number,
    isStaged: boolean,
  ) {
    this.#core = parts.core;
    this.#book = parts.book;
    this.#graph = parts.graph;
    this.#work = parts.work;
    this.#uniques = parts.uniques;
    this.#flow = flow;
    this.#isStaged = isStaged;
    this.#now = this.#core.now();
  }

  putTask(node: TaskNode): void {
    const { task, after = [], whenParentDies = 'fail' } = node;
    const holder = this.#holderOf(task);
    if (holder !== undefined) {
      nextPlace(this.#core, this.#book, this.#flow);
      this.#core.blobs?.drop(task.body);
      this.outside.add(this.ids.length);
      this.ids.add(holder);
      return;
    }
    const record = newMember(this.#core, this.#book, this.#flow, task, {
      number: this.#flow,
      labels: [...new Set(after.map(({ label }) => label))],
      whenParentDies,
    });
    this.ids.add(record.idBytes);
    const key = taskKey(record.segment, record.index);
    const parents = this.#parentsOf(key, record, node);
    const waits = this.#graph.link(key, whenParentDies, this.#flow, parents);
    if (task.unique !== undefined) this.#uniques.take(task.name, task.unique, record.idBytes, this.#now);
    if (waits.open === 0 && !this.#isStaged) {
      this.#book.memberAdded(this.#flow, false);
      this.roots.push({ record, task });
      return;
    }
    this.#book.memberAdded(this.#flow, true);
    this.#core.tables.put('task', key, sealRecord(record));
    this.#core.counters.add(this.#core.queueNames.number(task.queue), 'blocked', 1);
    this.#graph.putNode(key, waits);
    if (parents.some(({ isOutside }) => isOutside)) this.#isDue(key);
  }

  /** @returns how many edges were put since the last time, now and then. */
  *putJoin({ of }: JoinNode): Iterable<void> {
    const key = nextPlace(this.#core, this.#book, this.#flow);
    this.joins.add(this.ids.length);
    this.ids.add(undefined);
    const node: Node = { kind: 'join', flow: this.#flow, open: 0, died: 0 };
    let nth = 0;
    let isDue = false;
    for (const each of of) {
      const places = typeof each === 'object' ? each : undefined;
      for (let at = 0; at < (places?.count ?? 1); at++) {
        const from = places === undefined ? (each as From) : places.first + at;
        isDue = this.#putEdge(key, node, from, { label: 0, nth: nth++ }) || isDue;
        yield;
      }
    }
    this.#graph.putNode(key, node);
    if (isDue || joinState(node) === 'completed') this.#isDue(key);
  }

  #isDue(key: string): void {
    if (!this.#isStaged) this.due.push(key);
  }

  /** @returns whether the parent is no member, and open or dead. */
  #putEdge(child: string, node: Node, from: From, position: Position): boolean {
    const { tables } = this.#core;
    const { key, state, isOutside, value } = this.#parent(from);
    putParent(this.#core, child, position, value);
    const before = tables.get('edge', key + child);
    if (before !== undefined) {
      tables.put('edge', key + child, withPositions(before, [position]));
      return isOutside;
    }
    const status = statusFor(state, node.kind);
    tables.put('edge', key + child, sealEdge(status, [position]));
    if (status !== STATUS.done) node.open++;
    if (status === STATUS.died) node.died++;
    return isOutside;
  }

  #parentsOf(child: string, record: TaskRecord, { after = [] }: TaskNode): readonly Parent[] {
    const { labels } = record.meta.flow!;
    const counts = labels.map(() => 0);
    const parents = new Map<string, Parent & { readonly positions: Position[] }>();
    for (const { label: name, from } of after) {
      const label = labels.indexOf(name);
      const position = { label, nth: counts[label]!++ };
      const parent = this.#parent(from);
      putParent(this.#core, child, position, parent.value);
      const known = parents.get(parent.key);
      if (known === undefined) parents.set(parent.key, { ...parent, positions: [position] });
      else known.positions.push(position);
    }
    return [...parents.values()];
  }

  /** Nodes of this flow are open: what they are is decided when all of it is there. */
  #parent(from: From) {
    if (typeof from === 'string') return this.#parentWithId(parseId(from)!);
    const id = this.ids.at(from);
    if (this.outside.has(from)) return this.#parentWithId(id);
    const { chunks } = this.#book.known(this.#flow);
    const key = nodeKey(chunks, from, this.#core.flowChunk);
    const value = this.joins.has(from) ? Buffer.from(key, 'latin1') : id.slice();
    return { key, state: 'open', isOutside: false, value } as const;
  }

  #parentWithId(id: Uint8Array) {
    const { segment, index } = readId(id);
    const key = taskKey(segment, index);
    const isMember = this.#book.known(this.#flow).chunks.includes(segment);
    const state = isMember ? 'open' : stateOutside(this.#core, this.#book, id);
    const isOutside = !isMember && state !== 'completed';
    if (isOutside) this.#work.awaitOutside(key);
    return { key, state, isOutside, value: id.slice() };
  }

  #holderOf(task: NewTask): Uint8Array | undefined {
    if (task.unique === undefined) return undefined;
    const holder = this.#uniques.holder(task.name, task.unique.key);
    if (holder === undefined || task.unique.onConflict !== 'replace') return holder?.slice();
    this.#uniques.replace(holder);
    return undefined;
  }
}
