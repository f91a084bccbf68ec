/**
 * The embedded broker's state: tables, lines, the segments in memory, and the turn that gathers what the next commit
 * will make durable. The verbs of the port are in files of their own (`intake`, `settling`, `finals`, `upkeep`) and
 * work on this; it decides nothing about tasks.
 */
import { createHash } from 'node:crypto';
import type { Settled } from '../broker.js';
import type { TransferredPayload } from '../../task/task.js';
import { type ClaimSource, EmbeddedClaim } from './claim.js';
import type { CommitCycle } from './commit.js';
import { Counters } from './counters.js';
import { afterPrefix, type Tables } from './tables.js';
import { PLAIN_LANE, readU48, taskKey, u16, u48 } from './keys.js';
import { type LevelQueue, type Line, Lines } from './lines.js';
import { Names } from './names.js';
import { openRecord, type TaskRecord } from './record.js';
import { Segment, type Waiter } from './segment.js';

/** Waiting tasks held in memory; the rest is read back from the store. */
export const WINDOW_TASKS = 20_000;

const NEXT_SEGMENT = 'next-segment';

/** Where in the store a message about damage says that it was found. */
export interface CoreOptions {
  readonly tables: Tables;
  readonly where: string;
  /** High 32 bits of every id. */
  readonly storeNumber: number;
  readonly windowTasks?: number;
  readonly now: () => number;
  /** Keys of tasks that a dead owner had handed over. */
  readonly suspects?: ReadonlySet<string>;
  /** A row that cannot be read; it is left where it is and passed over. */
  readonly onCorrupt?: (error: Error) => void;
}

export class Core implements ClaimSource {
  readonly tables: Tables;
  readonly where: string;
  readonly storeNumber: number;
  readonly windowTasks: number;
  readonly lines = new Lines();
  readonly taskNames: Names;
  readonly queueNames: Names;
  readonly counters: Counters;
  /** Segments in memory that are not over, by number. */
  readonly segments = new Map<number, Segment>();
  /** Segment and place of ready records in memory, by record key. */
  readonly refPlaces = new Map<string, { readonly segment: Segment; readonly index: number }>();
  readonly transfers = new Map<string, TransferredPayload>();
  /** Who waits for tasks that are not in a resident segment, by record key. */
  readonly watchers = new Map<string, Waiter[]>();
  readonly #lineCache = new Map<string, Line>();
  commits!: CommitCycle;
  nextSegment: number;
  /** Highest segment number that may be read back from the store. */
  flushedUpTo: number;
  residentTasks = 0;
  readonly now: () => number;
  readonly suspects: ReadonlySet<string>;
  readonly onCorrupt: (error: Error) => void;
  wake: () => void = () => {};

  constructor(options: CoreOptions) {
    const { tables, where, storeNumber, windowTasks = WINDOW_TASKS } = options;
    this.now = options.now;
    this.suspects = options.suspects ?? new Set();
    this.onCorrupt = options.onCorrupt ?? (() => {});
    this.tables = tables;
    this.where = where;
    this.storeNumber = storeNumber;
    this.windowTasks = windowTasks;
    this.taskNames = new Names('task', tables);
    this.queueNames = new Names('queue', tables);
    this.counters = new Counters(tables);
    const next = tables.get('meta', NEXT_SEGMENT);
    this.nextSegment = next === undefined ? 1 : readU48(Buffer.from(next).toString('latin1'), 0);
    this.flushedUpTo = this.nextSegment - 1;
    this.#loadLines();
  }

  taskName(number: number): string {
    return this.taskNames.name(number);
  }

  /** The line of a queue; a lane other than the plain one gets a stored name on first use. */
  line(queueName: string, laneName = ''): Line {
    const key = `${queueName}\0${laneName}`;
    let line = this.#lineCache.get(key);
    if (line === undefined) {
      const lane = laneName === '' ? PLAIN_LANE : hashLane(laneName);
      if (laneName !== '' && this.tables.get('lane', lane) === undefined) {
        this.tables.put('lane', lane, Buffer.from(laneName, 'utf8'));
      }
      line = { queue: this.queueNames.number(queueName), queueName, lane, laneName };
      this.#lineCache.set(key, line);
    }
    return line;
  }

  newSegment(queue: LevelQueue, createdAt: number, kind: 'tasks' | 'refs', afterCommit = false): Segment {
    const segment = new Segment(this.nextSegment++, queue, createdAt, kind, afterCommit);
    this.segments.set(segment.number, segment);
    segment.resident = queue.spilledFrom === undefined && this.residentTasks < this.windowTasks;
    if (segment.resident) queue.segments.push(segment);
    else {
      queue.spilledFrom ??= segment.number;
      queue.unflushed++;
    }
    this.lines.wake(queue);
    return segment;
  }

  newClaim(segment: Segment, index: number): EmbeddedClaim {
    return new EmbeddedClaim(segment, index, this);
  }

  getRecord(key: string): TaskRecord | undefined {
    const row = this.tables.get('task', key);
    return row === undefined ? undefined : openRecord(row, this.where);
  }

  /** Puts the state that belongs to no single task. */
  putMeta(): void {
    this.counters.flush();
    this.tables.put('meta', NEXT_SEGMENT, Buffer.from(u48(this.nextSegment), 'latin1'));
  }

  /** Tells everybody who waits for a task outside a resident segment. */
  announce(key: string, settled: Settled): void {
    if (this.watchers.size === 0) return;
    const waiting = this.watchers.get(key);
    if (waiting === undefined) return;
    this.watchers.delete(key);
    for (const tell of waiting) tell(settled);
  }

  /** Waiters of a task that leaves its segment go on waiting under its key. */
  moveWaiters(segment: Segment, index: number): void {
    const waiting = segment.waiters?.[index];
    if (waiting === undefined) return;
    segment.waiters![index] = undefined;
    const key = taskKey(segment.number, index);
    this.watchers.set(key, [...(this.watchers.get(key) ?? []), ...waiting]);
  }

  /** Nothing will be settled here any more: tells everybody who waits. */
  abandonWaiters(error: Error): void {
    for (const segment of this.segments.values()) {
      for (const waiting of segment.waiters ?? []) for (const tell of waiting ?? []) tell(error);
      segment.waiters = undefined;
    }
    for (const waiting of this.watchers.values()) for (const tell of waiting) tell(error);
    this.watchers.clear();
  }

  /** Which (line, level) pairs have something stored: one seek each, whatever the backlog. */
  #loadLines(): void {
    for (let start = ''; ; ) {
      const [row] = this.tables.range('ready', { start, end: '\u0100', limit: 1 });
      if (row === undefined) return;
      const prefix = row[0].slice(0, 11);
      const lane = prefix.slice(2, 10);
      const queueName = this.queueNames.name((prefix.charCodeAt(0) << 8) | prefix.charCodeAt(1));
      const stored = lane === PLAIN_LANE ? undefined : this.tables.get('lane', lane);
      const line = this.line(queueName, stored === undefined ? '' : Buffer.from(stored).toString('utf8'));
      const queue = this.lines.at(line, 9 - prefix.charCodeAt(10));
      queue.spilledFrom = readU48(row[0], 11);
      this.lines.wake(queue);
      start = afterPrefix(prefix);
    }
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

export function finalKey(state: 'completed' | 'dead' | 'cancelled', queue: number, at: number, key: string): string {
  return FINAL_CODE[state] + u16(queue) + u48(at) + key;
}
export const FINAL_CODE = { completed: '\0', dead: '\x01', cancelled: '\x02' } as const;
