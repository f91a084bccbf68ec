/**
 * The embedded broker's state: tables, lines, the segments in memory, and the turn that gathers what the next
 * commit will make durable. The verbs of the port are in files of their own (`intake`, `claiming`,
 * `settling`, `finals`, …) and work on this; it decides nothing about tasks.
 */
import type { TransferredPayload } from '../../task/task.js';
import { MAX_UNSTAGED } from '../flows.js';
import type { EmbeddedBlobs } from './blobs.js';
import { type ClaimSource, EmbeddedClaim } from './claim.js';
import type { CommitCycle } from './commit.js';
import { Counters } from './counters.js';
import { DoneRows } from './done-rows.js';
import type { FlowHooks } from './flow-hooks.js';
import { CHUNK_NODES } from './flows/rows.js';
import { IdleLines } from './idle-lines.js';
import { readU48, taskKey, u16, u48 } from './keys.js';
import { Lanes } from './lanes.js';
import type { LevelQueue } from './line.js';
import { Lines } from './lines.js';
import { Names } from './names.js';
import { putNext, readNext } from './numbering.js';
import { openRecord, type TaskRecord } from './record.js';
import { Room } from './room.js';
import { Segment } from './segment.js';
import { StageRanges } from './staging/ranges.js';
import { afterPrefix, type Tables } from './tables.js';
import { Waiters } from './waiters.js';

/** Waiting tasks held in memory, and the bytes of their segments; the rest is read back from the store. */
export const WINDOW_TASKS = 20_000;
export const WINDOW_BYTES = 64 * 1024 * 1024;
/** Edges and members of flows looked at in one commit, beside the first of each settled task. */
const FLOW_STEPS = 256;

export interface CoreOptions {
  readonly tables: Tables;
  /** Where the store is, for messages about damage. */
  readonly where: string;
  /** High 32 bits of every id. */
  readonly storeNumber: number;
  readonly windowTasks?: number;
  readonly windowBytes?: number;
  /** Steps that flows may take in one commit; see `flows/work.ts`. */
  readonly flowSteps?: number;
  /** Nodes and edges of a flow that come in with one commit; larger ones are staged. */
  readonly flowRows?: number;
  /** Nodes of a flow that share the number of one segment; the same at each opening of a store. */
  readonly flowChunk?: number;
  readonly now: () => number;
  /** Keys of tasks that a dead owner had handed over; those that end are taken out. */
  readonly suspects?: Set<string>;
  readonly onSuspectEnded?: () => void;
  /** A row that cannot be read; it is left where it is and passed over. */
  readonly onCorrupt?: (error: Error) => void;
  /** 8 latin1 characters for the name of a lane, so that a test can have two names meet. */
  readonly laneHash?: (name: string) => string;
}

export class Core implements ClaimSource {
  readonly tables: Tables;
  readonly where: string;
  readonly storeNumber: number;
  readonly lines = new Lines();
  readonly lanes: Lanes;
  readonly idleLines = new IdleLines(this);
  readonly room = new Room(this);
  readonly waiters = new Waiters();
  readonly taskNames: Names;
  readonly queueNames: Names;
  readonly counters: Counters;
  readonly doneRows: DoneRows;
  readonly stages: StageRanges;
  /** Segments in memory that are not over, by number. */
  readonly segments = new Map<number, Segment>();
  /** Segment and place of ready records in memory, by record key. */
  readonly refPlaces = new Map<string, { readonly segment: Segment; readonly index: number }>();
  readonly transfers = new Map<string, TransferredPayload>();
  readonly flowSteps: number;
  readonly flowRows: number;
  readonly flowChunk: number;
  readonly #windowTasks: number;
  readonly #windowBytes: number;
  commits!: CommitCycle;
  flows!: FlowHooks;
  /** Absent where payloads and results are kept in the rows of their tasks, whatever their size. */
  blobs: EmbeddedBlobs | undefined;
  nextSegment: number;
  /** Highest segment number that may be read back from the store. */
  flushedUpTo: number;
  /** Waiting tasks in memory. */
  residentTasks = 0;
  /** Those of them whose lines are held. */
  heldTasks = 0;
  /** Bytes of segments in memory, also of those whose tasks are running. */
  residentBytes = 0;
  readonly now: () => number;
  readonly suspects: Set<string>;
  readonly #onSuspectEnded: () => void;
  readonly onCorrupt: (error: Error) => void;
  wake: () => void = () => {};

  constructor(options: CoreOptions) {
    const { tables } = options;
    this.now = options.now;
    this.suspects = options.suspects ?? new Set();
    this.#onSuspectEnded = options.onSuspectEnded ?? (() => {});
    this.onCorrupt = options.onCorrupt ?? (() => {});
    this.tables = tables;
    this.where = options.where;
    this.storeNumber = options.storeNumber;
    this.#windowTasks = options.windowTasks ?? WINDOW_TASKS;
    this.#windowBytes = options.windowBytes ?? WINDOW_BYTES;
    this.flowSteps = options.flowSteps ?? FLOW_STEPS;
    this.flowRows = options.flowRows ?? MAX_UNSTAGED;
    this.flowChunk = options.flowChunk ?? CHUNK_NODES;
    this.taskNames = new Names('task', tables);
    this.queueNames = new Names('queue', tables);
    this.lanes = new Lanes(tables, this.queueNames, options.laneHash);
    this.counters = new Counters(tables);
    this.doneRows = new DoneRows(tables, options.where);
    this.stages = new StageRanges(tables);
    this.nextSegment = readNext(tables);
    this.flushedUpTo = this.nextSegment - 1;
    this.#loadLines();
  }

  get isWindowFull(): boolean {
    return this.residentTasks >= this.#windowTasks || this.residentBytes >= this.#windowBytes;
  }

  taskName(number: number): string {
    return this.taskNames.name(number);
  }

  /**
   * The newest segment of a level, in place of the one that was open. The commit that stores it closes it.
   */
  openSegment(queue: LevelQueue, createdAt: number, kind: 'tasks' | 'refs'): Segment {
    if (queue.open !== undefined) queue.open.sealed = true;
    const segment = new Segment(this.nextSegment++, queue, createdAt, kind);
    queue.open = segment;
    this.hold(segment);
    if (this.isWindowFull) this.room.make('keep others');
    segment.resident = queue.spilledFrom === undefined && !this.isWindowFull;
    if (segment.resident) {
      queue.segments.push(segment);
      if (queue.line.kind === 'limit' || queue.line.isHeld) this.room.note(queue.line);
    } else {
      this.lines.spill(queue, queue.spilledFrom ?? segment.number);
      queue.unflushed++;
    }
    this.lines.wake(queue);
    this.commits.turn.newSegments.push(segment);
    return segment;
  }

  /** From now on this segment is the one that others find. */
  hold(segment: Segment): void {
    this.segments.set(segment.number, segment);
    segment.line.line.live++;
  }

  /** Waiting tasks came into memory or left it, other than by a claim. */
  waitingChanged({ line: { line } }: Segment, change: number): void {
    this.residentTasks += change;
    if (line.isHeld) this.heldTasks += change;
  }

  /** One more task waits in an open segment, which takes this many bytes more. */
  admit(segment: Segment, bytes: number): void {
    if (!segment.resident) return;
    if (segment.waiting === 1) {
      segment.line.insert(segment);
      this.lines.wake(segment.line);
    }
    this.waitingChanged(segment, 1);
    this.residentBytes += bytes;
    segment.heldBytes += bytes;
  }

  /** Puts a segment that takes no more tasks. */
  put(segment: Segment): void {
    const { lane, kind } = segment.line.line;
    this.tables.put('ready', readyKey(segment), segment.seal());
    if (kind === 'plain') return;
    this.tables.put('place', u48(segment.number), Buffer.from(lane, 'latin1'));
    this.lanes.putName(lane);
  }

  /** A spilled segment is flushed: from now on it is in the store only. */
  evict(segment: Segment): void {
    segment.line.unflushed--;
    this.#letGo(segment);
  }

  /** The same of one that was in memory, with all others of its level. */
  evictResident(segment: Segment): void {
    segment.resident = false;
    this.waitingChanged(segment, -segment.waiting);
    const { line } = segment;
    this.lines.spill(line, Math.min(segment.number, line.spilledFrom ?? segment.number));
    this.#letGo(segment);
  }

  #letGo(segment: Segment): void {
    for (let index = 0; index < (segment.waiters?.length ?? 0); index++) this.waiters.move(segment, index);
    for (const record of segment.records) {
      if (record === undefined) continue;
      const key = taskKey(record.segment, record.index);
      if (this.refPlaces.get(key)?.segment === segment) this.refPlaces.delete(key);
    }
    this.forget(segment);
  }

  /** Lets go of a segment that is over or evicted. */
  forget(segment: Segment): void {
    this.residentBytes -= segment.heldBytes;
    segment.heldBytes = 0;
    if (this.segments.get(segment.number) !== segment) return;
    this.segments.delete(segment.number);
    segment.line.line.live--;
  }

  newClaim(segment: Segment, index: number): EmbeddedClaim {
    return new EmbeddedClaim(segment, index, this);
  }

  /** @throws {StoreCorruptError} */
  getRecord(key: string): TaskRecord | undefined {
    const row = this.tables.get('task', key);
    return row === undefined ? undefined : openRecord(row, this.where);
  }

  /** What `read` returns; `undefined`, and reported, when a row is damaged. */
  tryRead<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      this.onCorrupt(error as Error);
      return undefined;
    }
  }

  /** A suspect has ended under the eyes of a living process. */
  clearSuspect(key: string): void {
    if (this.suspects.delete(key)) this.#onSuspectEnded();
  }

  /** Makes durable what was put, and before it the blobs that it refers to. */
  async commit(): Promise<void> {
    await this.tables.commit(this.blobs?.flush());
    this.blobs?.committed();
  }

  /** Puts the state that belongs to no single task. */
  putMeta(): void {
    this.counters.flush();
    this.flows.flush();
    putNext(this.tables, this.nextSegment);
  }

  /** Which (line, level) pairs have something stored: one seek each, whatever the backlog. */
  #loadLines(): void {
    for (let start = ''; ; ) {
      const [row] = this.tables.range('ready', { start, end: '\u0100', limit: 1 });
      if (row === undefined) return;
      const prefix = row[0].slice(0, 11);
      const queue = this.lanes.levelQueue(prefix);
      this.lines.spill(queue, readU48(row[0], 11));
      this.lines.wake(queue);
      start = afterPrefix(prefix);
    }
  }
}

/** Keys in the tables under which one segment's tasks are found. */
export function segmentRange(segment: number): { readonly start: string; readonly end: string } {
  return { start: taskKey(segment, 0), end: u48(segment + 1) };
}

export function readyKey(segment: Segment): string {
  return segment.line.prefix + u48(segment.number);
}

export function finalKey(
  state: 'completed' | 'dead' | 'cancelled',
  queue: number,
  at: number,
  key: string,
): string {
  return FINAL_CODE[state] + u16(queue) + u48(at) + key;
}
export const FINAL_CODE = { completed: '\0', dead: '\x01', cancelled: '\x02' } as const;
