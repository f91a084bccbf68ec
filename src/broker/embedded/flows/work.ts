/**
 * What follows from a change and may be much: walks over the edges of a parent, and over the members of a
 * flow. All of it, when it is little, belongs to the commit of the change; beyond that it goes on in commits
 * of a bounded size, with all other traffic between them, from cursors that are stored with each of them. The
 * next owner goes on where the last one ended.
 *
 * Walks come before what is done to whole flows, the newest first: so a flow sees its edges as they should
 * be.
 */
import type { Core } from '../core.js';
import { EMPTY } from '../record.js';
import { afterPrefix, type Row } from '../tables.js';
import type { Turn } from '../turn.js';
import type { FlowGraph } from './graph.js';
import { NODE_KEY_CHARS, type ParentState } from './rows.js';
import {
  type ErrandKind,
  errandKey,
  errandValue,
  outsideKey,
  readWork,
  walkKey,
  walkValue,
} from './work-rows.js';

/** Edges of each task that is settled, beside the steps of the commit: the first of them, or all. */
export const FIRST_EDGES = 16;
/** Of one errand, before the next one has its turn. */
const STEPS_IN_TURN = 64;
/** Edges read at a time. */
const EDGES_PER_READ = 128;

export interface Errand {
  readonly flow: number;
  readonly kind: ErrandKind;
  /** The key after which it goes on. */
  cursor: string;
  /** A cancel that has been everywhere lasts until the flow is final: a restart begins it anew. */
  isResting: boolean;
}

interface Walk {
  readonly key: string;
  state: ParentState;
  /** The edge from which it goes on. */
  cursor: string;
  /** Done, or begun anew. */
  isOver: boolean;
}

/** Does at most about so many steps. */
export type RunErrand = (errand: Errand, steps: number) => Progress;
export interface Progress {
  readonly steps: number;
  readonly isOver: boolean;
}

export class FlowWork {
  readonly #core: Core;
  readonly #graph: FlowGraph;
  readonly #runErrand: RunErrand;
  readonly #walks: Walk[] = [];
  readonly #walkOf = new Map<string, Walk>();
  readonly #errands = new Map<number, Errand>();
  /** Those that do not rest, in turn. */
  readonly #queue = new Set<Errand>();
  /** What has come further since it was stored. */
  readonly #moved = new Set<Errand>();
  readonly #walked = new Set<Walk>();
  /** Values of the rows of work, by their keys. */
  readonly #stored = new Map<string, string>();
  #turn: Turn | undefined;
  #steps = 0;
  #isRunning = false;
  #isWaiting = false;
  #idle: (() => void)[] = [];

  constructor(core: Core, graph: FlowGraph, runErrand: RunErrand) {
    this.#core = core;
    this.#graph = graph;
    this.#runErrand = runErrand;
    graph.walk = (key, state) => void this.#push(key, state);
  }

  /** Takes up what the last owner left. */
  recover(): void {
    for (let start = ''; ; ) {
      const rows = this.#core.tables.range('work', { start, end: '\u0100', limit: 1_000 });
      for (const [key, value] of rows) {
        this.#core.tryRead(() => this.#recover(key, Buffer.from(value).toString('latin1')));
      }
      if (rows.length < 1_000) break;
      start = `${rows[rows.length - 1]![0]}\0`;
    }
    if (this.#hasWork()) this.#advanceSoon();
  }

  /**
   * A parent has another state: what waits for it is told, in this commit as far as that is bounded.
   * @param first  Its first edges: all of them when they are fewer than {@link FIRST_EDGES}.
   */
  changed(key: string, state: ParentState, first: readonly Row[]): void {
    const walk = this.#push(key, state);
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      this.#apply(walk, first, Math.min(FIRST_EDGES, this.#core.flowSteps));
    } finally {
      this.#isRunning = false;
    }
    this.advance();
  }

  errandOf(flow: number): Errand | undefined {
    return this.#errands.get(flow);
  }

  get hasWalks(): boolean {
    return this.#walkOf.size > 0;
  }

  /** In place of what is being done to the flow. It begins in this commit. */
  begin(flow: number, kind: ErrandKind): void {
    this.drop(flow);
    const errand: Errand = { flow, kind, cursor: '', isResting: kind === 'stage' };
    this.#errands.set(flow, errand);
    this.#moved.add(errand);
    if (!errand.isResting) this.#queue.add(errand);
    this.advance();
  }

  drop(flow: number): void {
    const errand = this.#errands.get(flow);
    if (errand === undefined) return;
    this.#errands.delete(flow);
    this.#moved.delete(errand);
    this.#queue.delete(errand);
    this.#unstore(errandKey(flow));
  }

  awaitOutside(key: string): void {
    if (this.#graph.outside.has(key)) return;
    this.#graph.outside.add(key);
    this.#core.tables.put('work', outsideKey(key), EMPTY);
  }

  forgetOutside(key: string): void {
    if (this.#graph.outside.delete(key)) this.#core.tables.delete('work', outsideKey(key));
  }

  /** Resolves when nothing is left to be done; `undefined` when that is so now. */
  idle(): Promise<void> | undefined {
    if (!this.#isWaiting) return undefined;
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Nothing will be done here any more. */
  end(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  advance(): void {
    if (this.#isRunning) return;
    this.#refill();
    this.#isRunning = true;
    try {
      while (this.#steps > 0 && this.#step());
    } finally {
      this.#isRunning = false;
    }
    this.#store();
    this.#core.commits.changed();
    if (this.#hasWork()) this.#advanceSoon();
  }

  #hasWork(): boolean {
    return this.#walkOf.size > 0 || this.#nextErrand() !== undefined;
  }

  /** @returns false when there was nothing to do. */
  #step(): boolean {
    const walk = this.#walks[this.#walks.length - 1];
    if (walk?.isOver === true) this.#walks.pop();
    else if (walk !== undefined) this.#walk(walk);
    if (walk !== undefined) return true;
    const errand = this.#nextErrand();
    if (errand === undefined) return false;
    const { steps, isOver } = this.#runErrand(errand, Math.min(this.#steps, STEPS_IN_TURN));
    this.#steps -= Math.max(1, steps);
    if (this.#errands.get(errand.flow) !== errand) return true;
    if (isOver) this.drop(errand.flow);
    else this.#moved.add(errand);
    // The others have their turns first.
    if (this.#queue.delete(errand) && !errand.isResting) this.#queue.add(errand);
    return true;
  }

  #nextErrand(): Errand | undefined {
    for (const errand of this.#queue) return errand;
    return undefined;
  }

  #walk(walk: Walk): void {
    const { key, cursor } = walk;
    const limit = Math.min(EDGES_PER_READ, this.#steps);
    const rows = this.#core.tables.range('edge', { start: key + cursor, end: afterPrefix(key), limit });
    this.#steps -= Math.max(1, rows.length);
    this.#apply(walk, rows, limit);
  }

  /** Applies the next edges, which are the last ones when they are fewer than this. */
  #apply(walk: Walk, rows: readonly Row[], limit: number): void {
    const { key, state } = walk;
    if (rows.length < limit) {
      walk.isOver = true;
      this.#walkOf.delete(key);
      this.#unstore(walkKey(key));
      if (state === 'completed') this.forgetOutside(key);
    } else {
      walk.cursor = `${rows[limit - 1]![0].slice(NODE_KEY_CHARS)}\0`;
      this.#walked.add(walk);
    }
    for (let at = 0; at < Math.min(limit, rows.length); at++) {
      const [edge, row] = rows[at]!;
      this.#core.tryRead(() => this.#graph.apply(state, edge, row));
    }
  }

  #push(key: string, state: ParentState): Walk {
    const before = this.#walkOf.get(key);
    if (before !== undefined) before.isOver = true;
    const walk: Walk = { key, state, cursor: '', isOver: false };
    this.#walkOf.set(key, walk);
    this.#walks.push(walk);
    this.#walked.add(walk);
    return walk;
  }

  /** Each commit may do so much. */
  #refill(): void {
    const { turn } = this.#core.commits;
    if (turn === this.#turn) return;
    this.#turn = turn;
    this.#steps = this.#core.flowSteps;
  }

  #store(): void {
    for (const { key, state, cursor, isOver } of this.#walked) {
      if (!isOver) this.#put(walkKey(key), walkValue(state, cursor));
    }
    for (const { flow, kind, cursor } of this.#moved) {
      this.#put(errandKey(flow), errandValue(kind, cursor));
    }
    this.#walked.clear();
    this.#moved.clear();
  }

  #put(key: string, value: string): void {
    if (this.#stored.get(key) === value) return;
    this.#stored.set(key, value);
    this.#core.tables.put('work', key, Buffer.from(value, 'latin1'));
  }

  #unstore(key: string): void {
    if (this.#stored.delete(key)) this.#core.tables.delete('work', key);
  }

  /** With the next commit, once this one is flushed. */
  #advanceSoon(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    const go = (): void => {
      this.#isWaiting = false;
      if (this.#core.commits.ended === undefined) this.advance();
      if (!this.#isWaiting) this.end();
      this.#graph.telling.moved();
    };
    this.#core.commits.changed().then(go, go);
  }

  /** What cannot be read is left where it is: a guess could take a flow away. */
  #recover(key: string, value: string): void {
    const row = readWork(key, value, this.#core.where);
    if (row.of === 'outside') {
      this.#graph.outside.add(row.key);
      return;
    }
    this.#stored.set(key, value);
    if (row.of === 'walk') {
      this.#push(row.key, row.state).cursor = row.cursor;
      return;
    }
    const { flow, kind } = row;
    // What was not accepted goes away; who was running may wait again, behind the cursor of a cancel.
    const cursor = kind === 'cancel' ? '' : row.cursor;
    const errand: Errand = { flow, kind: kind === 'stage' ? 'delete' : kind, cursor, isResting: false };
    this.#errands.set(flow, errand);
    this.#queue.add(errand);
  }
}
