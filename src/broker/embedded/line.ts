/**
 * A line: the tasks of one lane of one queue, at up to ten levels. The window in memory holds the front of
 * each level; what does not fit waits in the store and is read back segment by segment when the front runs
 * out, so memory does not grow with the backlog. Order inside a level is segment number, then place: plain
 * enqueue order.
 */
import { type LaneKind, laneKind } from '../../task/lane.js';
import { levelPrefix } from './keys.js';
import type { Segment } from './segment.js';
import type { LaneTurn, QueueTurns } from './turns.js';

export const LEVELS = 10;

/** What the lines of one queue share. */
export interface QueueLines {
  readonly number: number;
  readonly name: string;
  /** All of them are passed over in the claim with this serial. */
  skippedIn: number;
  /** Turns of its lanes by level, where it has lanes with limits. */
  readonly turns: (QueueTurns | undefined)[];
}

export class Line {
  readonly siblings: QueueLines;
  /** 8 latin1 characters; `PLAIN_LANE` for tasks without a limit of their own. */
  readonly lane: string;
  /** `''` for the plain lane. */
  readonly laneName: string;
  readonly kind: LaneKind;
  /** Those that had a task; there may be 100,000 lines with one each. */
  readonly levels = new Array<LevelQueue | undefined>(LEVELS);
  /** Passed over in the claim with this serial. */
  skippedIn = 0;
  /** Out of all claims until it is resumed. */
  isHeld = false;
  /** Its segments in memory that are not over, and its levels in batches that are being staged. */
  live = 0;

  constructor(siblings: QueueLines, lane: string, laneName: string) {
    this.siblings = siblings;
    this.lane = lane;
    this.laneName = laneName;
    this.kind = laneKind(laneName);
  }

  get queue(): number {
    return this.siblings.number;
  }
  get queueName(): string {
    return this.siblings.name;
  }

  /** Made on first use. */
  at(level: number): LevelQueue {
    let queue = this.levels[level];
    if (queue === undefined) this.levels[level] = queue = new LevelQueue(this, level);
    return queue;
  }

  *queues(): Iterable<LevelQueue> {
    for (const queue of this.levels) if (queue !== undefined) yield queue;
  }
}

/** One level of one line. */
export class LevelQueue {
  readonly line: Line;
  readonly level: number;
  /** Key prefix of its segments. */
  readonly prefix: string;
  /** Resident segments with waiting places, by number. */
  readonly segments: Segment[] = [];
  /**
   * First segment number that is only in the store; `undefined` when the window holds everything. Changed by
   * `Lines.spill`.
   */
  spilledFrom: number | undefined;
  /** Segments of this level that are spilled and not flushed yet: they cannot be read back before. */
  unflushed = 0;
  /** Claims look at it. What has nothing to claim is dropped when it is met. */
  isListed = false;
  /** Its place among the lanes of this level, if it ever took turns. */
  turn: LaneTurn | undefined;
  /**
   * The newest segment, while it still takes tasks or references in this turn of the event loop. There is
   * one, so order is exact.
   */
  open: Segment | undefined;

  constructor(line: Line, level: number) {
    this.line = line;
    this.level = level;
    this.prefix = levelPrefix(line.queue, line.lane, level);
  }

  /** Nothing waits here or in the store. */
  get isEmpty(): boolean {
    return this.segments.length === 0 && this.spilledFrom === undefined;
  }
  get isSpilled(): boolean {
    return this.spilledFrom !== undefined;
  }

  /**
   * The segment whose first waiting place is next, if it may start now.
   * @param withSuspects  Without them it is the first segment that has something else.
   */
  front(withSuspects = true): Segment | undefined {
    for (;;) {
      const segment = this.segments[0];
      if (segment === undefined) return undefined;
      if (segment.waiting > 0) {
        if (segment.firstClaimable() < 0) return undefined;
        return withSuspects ? segment : this.#frontBehindSuspects();
      }
      this.segments.shift();
    }
  }

  #frontBehindSuspects(): Segment | undefined {
    for (const segment of this.segments) {
      if (segment.firstClaimable(false) >= 0) return segment;
      // What is held back holds back what comes behind it.
      if (segment.waiting > 0 && segment.firstClaimable() < 0) return undefined;
    }
    return undefined;
  }

  /** Puts a segment into its place by number; it may be there already. */
  insert(segment: Segment): void {
    const { segments } = this;
    let at = segments.length;
    while (at > 0 && segments[at - 1]!.number > segment.number) at--;
    if (segments[at - 1] !== segment) segments.splice(at, 0, segment);
  }
}
