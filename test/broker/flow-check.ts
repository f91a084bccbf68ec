/**
 * Reads all rows of flows and holds them against each other: edges against counts, counters against a
 * recount, and what is released against what its parents are, wherever nothing is still to be walked.
 */
import assert from 'node:assert/strict';
import {
  type Flow,
  fateOf,
  joinState,
  type Node,
  openFlow,
  openNode,
  type ParentState,
  positionsOf,
  STATUS,
  statusFor,
} from '#src/broker/embedded/flows/rows.js';
import { readU16, readU48, taskKey, u48 } from '#src/broker/embedded/keys.js';
import { isFinalRecord, type TaskRecord } from '#src/broker/embedded/record.js';
import type { TableName, Tables } from '#src/broker/embedded/tables.js';

export function checkFlows(tables: Tables, records: ReadonlyMap<string, TaskRecord>): void {
  new FlowCheck(tables, records).run();
}

class FlowCheck {
  readonly #tables: Tables;
  readonly #records: ReadonlyMap<string, TaskRecord>;
  readonly #flows = new Map<number, Flow>();
  readonly #nodes = new Map<string, Node>();
  /** Parents whose edges are still to be walked, flows that something is still done to, tasks outside. */
  readonly #walks = new Set<string>();
  readonly #errands = new Set<number>();
  readonly #outside = new Set<string>();
  /** Stored segments. */
  readonly #segments = new Set<string>();

  constructor(tables: Tables, records: ReadonlyMap<string, TaskRecord>) {
    this.#tables = tables;
    this.#records = records;
  }

  run(): void {
    for (const [key, row] of this.#all('flow')) {
      if (key.length === 6) this.#flows.set(readU48(key, 0), openFlow(row, 'store'));
    }
    for (const [key] of this.#all('ready')) this.#segments.add(key.slice(-6));
    for (const [key, row] of this.#all('node')) this.#nodes.set(key, openNode(row, 'store'));
    for (const [key] of this.#all('work')) {
      if (key[0] === 'w') this.#walks.add(key.slice(1));
      else if (key[0] === 'o') this.#outside.add(key.slice(1));
      else this.#errands.add(readU48(key, 1));
    }
    this.#checkNodes();
    this.#checkEdges();
    this.#checkParents();
    this.#checkOutside();
    for (const flow of this.#flows.values()) if (flow.phase !== 'deleted') this.#checkFlow(flow);
  }

  #all(table: TableName) {
    return this.#tables.range(table, { start: '', end: '\u0100', limit: 10_000_000 });
  }

  #isDeleted(number: number): boolean {
    return this.#flows.get(number)?.phase === 'deleted';
  }

  #checkNodes(): void {
    for (const [key, { state, meta }] of this.#records) {
      const number = meta.flow?.number;
      if (number !== undefined) assert.ok(this.#flows.has(number), 'a member has a flow');
      if (state !== 'blocked') continue;
      assert.ok(number !== undefined, 'what is blocked is a member');
      const node = this.#nodes.get(key);
      if (this.#isDeleted(number)) continue;
      assert.equal(node?.kind, meta.flow!.whenParentDies, 'what is blocked has a node row');
    }
    for (const [key, { kind, flow }] of this.#nodes) {
      assert.ok(this.#flows.has(flow), 'a node has a flow');
      if (kind === 'join' || this.#isDeleted(flow)) continue;
      assert.equal(this.#records.get(key)?.state, 'blocked', 'a task with a node row is blocked');
    }
  }

  #checkEdges(): void {
    const counted = new Map<string, { open: number; died: number }>();
    for (const [edge, row] of this.#all('edge')) {
      const [parent, child] = [edge.slice(0, 8), edge.slice(8)];
      const node = this.#nodes.get(child);
      if (node === undefined || this.#isDeleted(node.flow)) continue;
      const status = row[0]!;
      const count = counted.get(child) ?? { open: 0, died: 0 };
      if (status !== STATUS.done) count.open++;
      if (status === STATUS.died) count.died++;
      counted.set(child, count);
      const { phase } = this.#flows.get(node.flow)!;
      const state = this.#stateOf(parent);
      if (state === undefined || this.#walks.has(parent) || phase === 'staging') continue;
      if (this.#errands.has(node.flow) || this.#flows.get(node.flow)!.phase === 'cancelling') continue;
      const who = `${this.#nameOf(parent)} ${state}, ${this.#nameOf(child)} ${node.kind}`;
      assert.equal(status, statusFor(state, node.kind), `an edge says what its parent is (${who})`);
    }
    for (const [key, { open, died, flow }] of this.#nodes) {
      if (this.#isDeleted(flow)) continue;
      const { open: some, died: few } = counted.get(key) ?? { open: 0, died: 0 };
      assert.deepEqual([open, died], [some, few], 'a node row counts the edges to its node');
    }
    for (const [key, node] of this.#nodes) {
      const { phase } = this.#flows.get(node.flow)!;
      if (phase !== 'running' || this.#errands.has(node.flow)) continue;
      assert.equal(
        fateOf(node),
        'waits',
        `what waits for nothing is released (${[...key].map((c) => c.charCodeAt(0))})`,
      );
    }
  }

  #nameOf(key: string): string {
    const record = this.#records.get(key);
    const place = `${readU48(key, 0)}.${readU16(key, 6)}`;
    return record === undefined ? place : `${place} ${Buffer.from(record.body)}`;
  }

  /** `undefined` when it is not kept any more. */
  #stateOf(key: string): ParentState | undefined {
    const node = this.#nodes.get(key);
    if (node !== undefined) return node.kind === 'join' ? joinState(node) : 'open';
    const record = this.#records.get(key);
    if (record?.isDeleted === true) return undefined;
    if (record !== undefined) {
      if (record.state === 'completed') return 'completed';
      return isFinalRecord(record) ? 'died' : 'open';
    }
    if (this.#doneRowOf(key)) return 'completed';
    return this.#outside.has(key) && this.#segments.has(key.slice(0, 6)) ? 'open' : undefined;
  }

  #doneRowOf(key: string): boolean {
    const start = taskKey(readU48(key, 0), 0);
    const [row] = this.#tables.range('done', { start, end: `${key}\0`, limit: 1, reverse: true });
    if (row === undefined) return false;
    const count = Buffer.from(row[1]).readUInt16BE(2);
    return readU16(key, 6) < readU16(row[0], 6) + count;
  }

  #checkParents(): void {
    for (const [key, value] of this.#all('parent')) {
      const bytes = Buffer.from(value);
      const parent = bytes.length === 8 ? bytes.toString('latin1') : bytes.toString('latin1', 4, 12);
      const child = key.slice(0, 8);
      const number = this.#nodes.get(child)?.flow ?? this.#records.get(child)?.meta.flow?.number;
      if (number === undefined || this.#isDeleted(number)) continue;
      const edge = this.#tables.get('edge', parent + child);
      if (edge === undefined && !this.#flows.has(this.#records.get(parent)?.meta.flow?.number ?? -1))
        continue;
      assert.ok(edge !== undefined, 'a parent has an edge');
      const [label, nth] = [readU16(key, 8), readU48(`\0\0${key.slice(10, 14)}`, 0)];
      const isThere = positionsOf(edge).some((each) => each.label === label && each.nth === nth);
      assert.ok(isThere, 'an edge knows the places of the parent');
    }
  }

  #checkOutside(): void {
    for (const key of this.#outside) {
      const range = { start: key, end: `${key}\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff`, limit: 1 };
      assert.equal(this.#tables.range('edge', range).length, 1, 'what is waited for has an edge');
    }
  }

  #checkFlow(flow: Flow): void {
    const members = [...this.#records.values()].filter(({ meta }) => meta.flow?.number === flow.number);
    const count = (state: string): number => members.filter((each) => each.state === state).length;
    const ends = members.filter((each) => !this.#hasChildren(flow, taskKey(each.segment, each.index)));
    const expected = {
      total: members.length,
      blocked: count('blocked'),
      completed: count('completed'),
      dead: count('dead'),
      cancelled: count('cancelled'),
      deadEnds: ends.filter(({ state }) => state === 'dead').length,
      cancelledEnds: ends.filter(({ state }) => state === 'cancelled').length,
    };
    for (const [name, value] of Object.entries(expected)) {
      assert.equal(flow[name as keyof typeof expected], value, `${name} of a flow equals a recount`);
    }
    const isOver = expected.completed + expected.dead + expected.cancelled === expected.total;
    const isFinal = ['completed', 'dead', 'cancelled'].includes(flow.phase);
    if (flow.phase === 'running' || flow.phase === 'cancelling' || isFinal) {
      assert.equal(isFinal, isOver, 'a flow is final when its members are');
    }
    for (const { segment } of members) assert.ok(flow.chunks.includes(segment), 'a member is in its flow');
  }

  #hasChildren({ chunks }: Flow, key: string): boolean {
    return chunks.some((chunk) => {
      const range = { start: key + u48(chunk), end: key + u48(chunk + 1), limit: 1 };
      return this.#tables.range('edge', range).length > 0;
    });
  }
}
