/**
 * What is done to a flow as a whole, one bounded slice at a time: starting what was staged, cancelling,
 * sending round again, deleting. Cursors are keys of nodes; each step may be done again.
 */
import { isFinal } from '../../../task/task.js';
import { type Core, finalKey } from '../core.js';
import type { Finals } from '../finals.js';
import { readU48, taskKey, u48 } from '../keys.js';
import { openRecord, type TaskRecord } from '../record.js';
import { afterPrefix, type Row, type TableName } from '../tables.js';
import type { FlowBook } from './book.js';
import { type FlowGraph, keyOfParent } from './graph.js';
import type { FlowRedrives } from './redrive.js';
import { type Flow, NODE_KEY_CHARS, nodeKey, openNode } from './rows.js';
import type { Errand, FlowWork, Progress } from './work.js';

/** Rows read at a time, which may hold payloads. */
const ROWS_PER_READ = 128;
/** What goes round again mostly ends the step: rows behind it are read once more. */
const ROWS_PER_REDRIVE = 8;
/** Deleting a row takes less than a step elsewhere. */
const DELETED_PER_STEP = 4;
/** In this order: what leads to others goes first. */
const TABLES_OF_FLOWS = ['task', 'node', 'parent', 'edge'] as const;

const FIRST = '\0';
const SECOND = '\x01';

const NOTHING_LEFT: Progress = { steps: 0, isOver: true };

export class FlowErrands {
  readonly #core: Core;
  readonly #book: FlowBook;
  readonly #graph: FlowGraph;
  readonly #finals: Finals;
  readonly #redrives: FlowRedrives;
  #work!: FlowWork;

  constructor(core: Core, book: FlowBook, graph: FlowGraph, finals: Finals, redrives: FlowRedrives) {
    this.#core = core;
    this.#book = book;
    this.#graph = graph;
    this.#finals = finals;
    this.#redrives = redrives;
  }

  use(work: FlowWork): void {
    this.#work = work;
  }

  run(errand: Errand, steps: number): Progress {
    const flow = this.#core.tryRead(() => this.#book.get(errand.flow));
    if (flow === undefined) return NOTHING_LEFT;
    switch (errand.kind) {
      case 'start':
        return this.#start(flow, errand, steps);
      case 'cancel':
        return this.#cancel(flow, errand, steps);
      case 'redrive':
        return this.#redrive(flow, errand, steps);
      default:
        return this.#delete(flow, errand, Math.max(1, steps) * DELETED_PER_STEP);
    }
  }

  /** Lets go what waits for nothing; only what is new to the flow has a node row. */
  #start(flow: Flow, errand: Errand, steps: number): Progress {
    const rows = rowsOf(this.#core, 'node', flow, errand.cursor, Math.min(steps, ROWS_PER_READ));
    for (const [key, row] of rows) {
      errand.cursor = key;
      this.#core.tryRead(() => this.#graph.decide(key, openNode(row, this.#core.where)));
    }
    if (rows.length > 0) return { steps: rows.length, isOver: false };
    this.#book.endIfOver(flow.number);
    return NOTHING_LEFT;
  }

  #cancel(flow: Flow, errand: Errand, steps: number): Progress {
    if (flow.phase !== 'cancelling') return NOTHING_LEFT;
    const rows = rowsOf(this.#core, 'task', flow, errand.cursor, Math.min(steps, ROWS_PER_READ));
    for (const [key, row] of rows) {
      errand.cursor = key;
      this.#core.tryRead(() => this.cancelMember(key, openRecord(row, this.#core.where), flow.reason));
    }
    if (rows.length > 0) return { steps: rows.length, isOver: false };
    // Nothing may be left to end: it was being sent round, and nothing had gone yet.
    this.#book.endIfOver(flow.number);
    errand.isResting = true;
    return { steps: 0, isOver: this.#book.get(flow.number)?.phase !== 'cancelling' };
  }

  /** A running one stays: whoever runs it was told to abort it. */
  cancelMember(key: string, stored: TaskRecord, reason: string): void {
    if (isFinal(stored.state)) return;
    const at = this.#core.refPlaces.get(key);
    const record = at?.segment.records[at.index] ?? stored;
    const answer = this.#finals.cancelNow({ kind: 'record', record }, reason, this.#core.now(), 0);
    if (answer.kind === 'cancelled') this.#book.telling.memberEnded(record, 'cancelled', reason);
  }

  /**
   * Parents come before their children: first those that were added, which have no parents themselves, then
   * the others, in their order. The walks that each one causes come before the next one. The cursor begins
   * with which of the two it is about.
   */
  #redrive(flow: Flow, errand: Errand, steps: number): Progress {
    const last = nodeKey(flow.chunks, flow.planned - 1, this.#core.flowChunk);
    const [isSecond, after] = [errand.cursor[0] === SECOND, errand.cursor.slice(1)];
    const from = isSecond || after !== '' ? after : last;
    const rows = rowsOf(this.#core, 'task', flow, from, Math.min(steps, ROWS_PER_REDRIVE));
    let looked = 0;
    for (const [key, row] of rows) {
      if (isSecond && key > last) break;
      errand.cursor = (isSecond ? SECOND : FIRST) + key;
      looked++;
      const record = this.#core.tryRead(() => openRecord(row, this.#core.where));
      if (record === undefined || (record.state !== 'dead' && record.state !== 'cancelled')) continue;
      looked += this.#core.tryRead(() => this.#redrives.redriveIfItCan(record)) ?? 0;
      if (this.#work.hasWalks || looked >= steps) break;
    }
    if (looked > 0) return { steps: looked, isOver: false };
    if (!isSecond) {
      errand.cursor = SECOND;
      return { steps: 1, isOver: false };
    }
    this.#book.change(flow.number, { phase: 'running' });
    this.#book.endIfOver(flow.number);
    return NOTHING_LEFT;
  }

  /** The cursor begins with the number of the table. */
  #delete(flow: Flow, errand: Errand, rowsAtMost: number): Progress {
    const at = errand.cursor === '' ? 0 : errand.cursor.charCodeAt(0);
    const table = TABLES_OF_FLOWS[at];
    if (table === undefined) {
      this.#core.tables.delete('flow', keysKey(flow.number));
      this.#book.remove(flow.number);
      return NOTHING_LEFT;
    }
    const rows = rowsOf(this.#core, table, flow, errand.cursor.slice(1), rowsAtMost);
    for (const [key, row] of rows) {
      if (table === 'task') this.#core.tryRead(() => this.#loseRecord(key, row));
      else if (table === 'parent') this.#core.tryRead(() => this.#loseEdge(flow, key, row));
      // Members of other flows may still wait for this one; with them the edge goes.
      else if (table === 'edge' && !flow.chunks.includes(readU48(key, NODE_KEY_CHARS))) continue;
      this.#core.tables.delete(table, key);
      if (table === 'edge') this.#forgetIfAlone(key.slice(0, NODE_KEY_CHARS));
    }
    const last = rows[rows.length - 1]?.[0];
    errand.cursor = last === undefined ? String.fromCharCode(at + 1) : String.fromCharCode(at) + last;
    return { steps: Math.ceil(rows.length / DELETED_PER_STEP), isOver: false };
  }

  #loseRecord(key: string, row: Uint8Array): void {
    const { blobs, counters, queueNames, tables, where } = this.#core;
    const record = openRecord(row, where);
    const queue = queueNames.number(record.queue);
    blobs?.lose(record.body);
    blobs?.lose(record.result);
    if (isFinal(record.state)) tables.delete('final', finalKey(record.state, queue, record.settledAt, key));
    // Those of a flow that was never accepted are blocked.
    if (record.state !== 'ready' && record.state !== 'scheduled') counters.add(queue, record.state, -1);
  }

  /** The edge from a task that is no member of this flow. */
  #loseEdge({ chunks }: Flow, key: string, row: Uint8Array): void {
    const parent = keyOfParent(row, this.#core.where);
    if (chunks.includes(readU48(parent, 0))) return;
    this.#core.tables.delete('edge', parent + key.slice(0, NODE_KEY_CHARS));
    this.#forgetIfAlone(parent);
  }

  /** Nothing may be left that waits, or has waited, for this task. */
  #forgetIfAlone(parent: string): void {
    if (!this.#graph.outside.has(parent)) return;
    const edges = { start: parent, end: afterPrefix(parent), limit: 1 };
    if (this.#core.tables.range('edge', edges).length === 0) this.#work.forgetOutside(parent);
  }
}

/** Key of the row with the keys of a flow's nodes. */
export function keysKey(flow: number): string {
  return `${u48(flow)}k`;
}

/** Rows that begin with the key of a node of this flow, behind a key, in the order of the nodes. */
export function rowsOf(core: Core, table: TableName, flow: Flow, after: string, limit: number): Row[] {
  const rows: Row[] = [];
  const from = after === '' ? 0 : readU48(after, 0);
  for (const chunk of flow.chunks) {
    if (chunk < from) continue;
    const start = chunk === from ? `${after}\0` : taskKey(chunk, 0);
    rows.push(...core.tables.range(table, { start, end: u48(chunk + 1), limit: limit - rows.length }));
    if (rows.length >= limit) break;
  }
  return rows;
}
