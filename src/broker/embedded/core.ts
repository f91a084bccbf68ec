/**
 * The embedded broker's state: tables, lines, the segments in memory, and the turn that gathers what the next
 * commit will make durable. The verbs of the port are in files of their own (`intake`, `settling`, `finals`,
 * `upkeep`) and work on this; it decides nothing about tasks.
 */
import { createHash } from 'node:crypto';
import { laneKind } from '../../task/lane.js';
import type { TransferredPayload } from '../../task/task.js';
import type { OrderRules } from '../broker.js';
import type { EmbeddedBlobs } from './blobs.js';
import { type ClaimSource, EmbeddedClaim } from './claim.js';
import type { CommitCycle } from './commit.js';
import { Counters } from './counters.js';
import { DoneRows } from './done-rows.js';
import { PLAIN_LANE, readU48, taskKey, u16, u48 } from './keys.js';
import { type LevelQueue, type Line, Lines } from './lines.js';
import { Names } from './names.js';
import { putNext, readNext } from './numbering.js';
import { openRecord, type TaskRecord } from './record.js';
import { Segment } from './segment.js';
import { StageRanges } from './stage-ranges.js';
import { afterPrefix, type Tables } from './tables.js';
import { Waiters } from './waiters.js';

/** Waiting tasks held in memory, and the bytes of their segments; the rest is read back from the store. */
export const WINDOW_TASKS = 20_000;
export const WINDOW_BYTES = 64 * 1024 * 1024;

export interface CoreOptions {
  readonly tables: Tables;
  /** Where the store is, for messages about damage. */
  readonly where: string;
  /** High 32 bits of every id. */
  readonly storeNumber: number;
  readonly windowTasks?: number;
  readonly windowBytes?: number;
  readonly now: () => number;
  /** Keys of tasks that a dead owner had handed over; those that end are taken out. */
  readonly suspects?: Set<string>;
  readonly onSuspectEnded?: () => void;
  /** A row that cannot be read; it is left where it is and passed over. */
  readonly onCorrupt?: (error: Error) => void;
}

export class Core implements ClaimSource {
  readonly tables: Tables;
  readonly where: string;
  readonly storeNumber: number;
  readonly lines = new Lines();
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
  readonly #windowTasks: number;
  readonly #windowBytes: number;
  readonly #lineCache = new Map<string, Line>();
  commits!: CommitCycle;
  /** Absent where payloads and results are kept in the rows of their tasks, whatever their size. */
  blobs: EmbeddedBlobs | undefined;
  nextSegment: number;
  /** Highest segment number that may be read back from the store. */
  flushedUpTo: number;
  /** Waiting tasks in memory. */
  residentTasks = 0;
  /** Bytes of segments in memory, also of those whose tasks are running. */
  residentBytes = 0;
  readonly now: () => number;
  readonly suspects: Set<string>;
  readonly #onSuspectEnded: () => void;
  readonly onCorrupt: (error: Error) => void;
  wake: () => void = () => {};
  rules: OrderRules = { weightOf: () => 1, isOpen: () => true };

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
    this.taskNames = new Names('task', tables);
    this.queueNames = new Names('queue', tables);
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

  /** The lines that are known. */
  get knownLines(): Iterable<Line> {
    return this.#lineCache.values();
  }

  /** The line of a queue; a lane other than the plain one gets a stored name on first use. */
  line(queueName: string, laneName = ''): Line {
    const key = laneName === '' ? queueName : `${queueName}\0${laneName}`;
    let line = this.#lineCache.get(key);
    if (line === undefined) {
      const lane = laneName === '' ? PLAIN_LANE : hashLane(laneName);
      if (laneName !== '' && !this.tables.has('lane', lane)) {
        this.tables.put('lane', lane, Buffer.from(laneName, 'utf8'));
      }
      const queue = this.queueNames.number(queueName);
      line = { queue, queueName, lane, laneName, kind: laneKind(laneName), skippedIn: 0, isHeld: false };
      this.#lineCache.set(key, line);
    }
    return line;
  }

  /**
   * The newest segment of a level, in place of the one that was open. The commit that stores it closes it.
   */
  openSegment(queue: LevelQueue, createdAt: number, kind: 'tasks' | 'refs'): Segment {
    if (queue.open !== undefined) queue.open.sealed = true;
    const segment = new Segment(this.nextSegment++, queue, createdAt, kind);
    queue.open = segment;
    this.segments.set(segment.number, segment);
    segment.resident = queue.spilledFrom === undefined && !this.isWindowFull;
    if (segment.resident) queue.segments.push(segment);
    else {
      queue.spilledFrom ??= segment.number;
      queue.unflushed++;
    }
    this.lines.wake(queue);
    this.commits.turn.newSegments.push(segment);
    return segment;
  }

  /** One more task waits in an open segment, which takes this many bytes more. */
  admit(segment: Segment, bytes: number): void {
    if (!segment.resident) return;
    if (segment.waiting === 1) {
      segment.line.insert(segment);
      this.lines.wake(segment.line);
    }
    this.residentTasks++;
    this.residentBytes += bytes;
    segment.heldBytes += bytes;
  }

  /** A spilled segment is flushed: from now on it is in the store only. */
  evict(segment: Segment): void {
    segment.line.unflushed--;
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
    if (this.segments.get(segment.number) === segment) this.segments.delete(segment.number);
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
    putNext(this.tables, this.nextSegment);
  }

  /** Which (line, level) pairs have something stored: one seek each, whatever the backlog. */
  #loadLines(): void {
    for (let start = ''; ; ) {
      const [row] = this.tables.range('ready', { start, end: '\u0100', limit: 1 });
      if (row === undefined) return;
      const prefix = row[0].slice(0, 11);
      const queue = this.levelQueue(prefix);
      queue.spilledFrom = readU48(row[0], 11);
      this.lines.wake(queue);
      start = afterPrefix(prefix);
    }
  }

  /** The level queue that a key of `ready` begins with. */
  levelQueue(prefix: string): LevelQueue {
    const lane = prefix.slice(2, 10);
    const queueName = this.queueNames.name((prefix.charCodeAt(0) << 8) | prefix.charCodeAt(1));
    const stored = lane === PLAIN_LANE ? undefined : this.tables.get('lane', lane);
    const line = this.line(queueName, stored === undefined ? '' : Buffer.from(stored).toString('utf8'));
    return this.lines.at(line, 9 - prefix.charCodeAt(10));
  }
}

function hashLane(name: string): string {
  const lane = createHash('sha256').update(name).digest().toString('latin1', 0, 8);
  return lane === PLAIN_LANE ? `${lane.slice(0, 7)}\x01` : lane;
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
