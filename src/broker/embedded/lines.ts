/**
 * Lines: one per (queue, lane), ten levels each. The window in memory holds the front of every level; what
 * does not fit waits in the store and is read back segment by segment when the front runs out, so memory does
 * not grow with the backlog. Order inside a level is segment number, then place: plain enqueue order.
 */
import type { LaneKind } from '../../task/lane.js';
import { levelPrefix } from './keys.js';
import type { Segment } from './segment.js';

export interface Line {
  readonly queue: number;
  readonly queueName: string;
  /** 8 latin1 characters; `PLAIN_LANE` for tasks without a limit of their own. */
  readonly lane: string;
  /** `''` for the plain lane. */
  readonly laneName: string;
  readonly kind: LaneKind;
  /** Passed over in the claim with this serial. */
  skippedIn: number;
  /** Out of all claims until it is resumed. */
  isHeld: boolean;
}

/** One level of one line. */
export class LevelQueue {
  readonly line: Line;
  readonly level: number;
  /** Key prefix of its segments. */
  readonly prefix: string;
  /** Resident segments with waiting places, by number. */
  readonly segments: Segment[] = [];
  /** First segment number that is only in the store; `undefined` when the window holds everything. */
  spilledFrom: number | undefined;
  /** Segments of this level that are spilled and not flushed yet: they cannot be read back before. */
  unflushed = 0;
  /**
   * The newest segment, while it still takes tasks or references in this turn. There is one, so order is
   * exact.
   */
  open: Segment | undefined;

  constructor(line: Line, level: number) {
    this.line = line;
    this.level = level;
    this.prefix = levelPrefix(line.queue, line.lane, level);
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

export class Lines {
  readonly #lines = new Map<string, LevelQueue[]>();
  /** Level queues by level; those with nothing to claim are dropped when met and put back by `wake`. */
  readonly #levels: LevelQueue[][] = Array.from({ length: 10 }, () => []);
  readonly #listed = new Set<LevelQueue>();

  /** The level queue of a line, made on first use. */
  at(line: Line, level: number): LevelQueue {
    const key = `${line.queue}${line.lane}`;
    let queues = this.#lines.get(key);
    if (queues === undefined) {
      queues = Array.from({ length: 10 }, (_, of) => new LevelQueue(line, of));
      this.#lines.set(key, queues);
    }
    return queues[level]!;
  }

  /** Makes a level queue a candidate again. */
  wake(queue: LevelQueue): void {
    if (this.#listed.has(queue)) return;
    this.#listed.add(queue);
    this.#levels[queue.level]!.push(queue);
  }

  /**
   * The level queue whose head is best: highest level, then oldest segment. Lines skipped in this `claim` are
   * passed over; `refill` is asked for those whose window is empty but whose store is not.
   */
  best(serial: number, refill: (queue: LevelQueue) => void, withSuspects: boolean): LevelQueue | undefined {
    for (let level = 9; level >= 0; level--) {
      const queues = this.#levels[level]!;
      let best: LevelQueue | undefined;
      let bestNumber = 0;
      for (let at = 0; at < queues.length; at++) {
        const queue = queues[at]!;
        if (queue.line.skippedIn === serial || queue.line.isHeld) continue;
        let front = queue.front(withSuspects);
        if (front === undefined && queue.segments.length === 0 && queue.spilledFrom !== undefined) {
          refill(queue);
          front = queue.front(withSuspects);
        }
        if (front === undefined) {
          if (queue.segments.length === 0 && queue.spilledFrom === undefined) {
            queues.splice(at--, 1);
            this.#listed.delete(queue);
          }
          continue;
        }
        if (best === undefined || front.number < bestNumber) {
          best = queue;
          bestNumber = front.number;
        }
      }
      if (best !== undefined) return best;
    }
    return undefined;
  }

  /** Whether tasks wait that are only in the store. */
  get hasSpilled(): boolean {
    for (const queue of this.#listed) if (queue.spilledFrom !== undefined) return true;
    return false;
  }

  *queues(): Iterable<LevelQueue> {
    for (const queues of this.#lines.values()) yield* queues;
  }
}
