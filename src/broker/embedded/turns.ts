/**
 * Turns of lanes by stride scheduling. Each lane has a pass; the lowest is claimed from next and moves on by
 * its stride, the shorter the more it weighs. The pass of the newest claim is the level's time. A lane that
 * comes in does so near that time, or at its own pass when it has had more than its share; it gets nothing
 * for the time in which it had no tasks.
 *
 * Near: were it at that time, those behind it would wait for as long as new lanes come in, which may be for
 * ever. So where they come in moves on with each claim, but is never more than `AHEAD` before the time.
 *
 * Passes are integers, so that equal shares stay equal for ever. `⌈UNIT / w⌉ × w ≥ UNIT`: between the coming
 * in of a lane of weight v, up to `UNIT / AHEAD`, and its claim, a lane of weight w is claimed from at most
 * ⌈w / v⌉ times. Among equal passes, who has waited longest goes first.
 *
 * @source  Waldspurger, Weihl, "Stride Scheduling: Deterministic Proportional-Share Resource Management",
 *   MIT/LCS/TM-528, 1995.
 */
import type { LevelQueue, QueueLines } from './line.js';

/** Stride of weight 1. */
const UNIT = 2 ** 20;
const AHEAD = UNIT / 8;
/** Times are set back beyond this, while numbers are exact. Once in years, so that it may look at all. */
const MAX_TIME = 2 ** 52;

/** Of one lane at one level, or of all queues together that have no such lanes there. */
export class LaneTurn {
  queue: LevelQueue | undefined;
  /** Of a line that was forgotten: the pass is kept for the case that the lane comes back. */
  laneName: string | undefined;
  pass = 0;
  /** Order among equal passes. */
  serial = 0;
  /** The setting back after which its pass holds. */
  era = 0;
  /** Index in its heap, −1 when it is in none. */
  at = -1;

  constructor(queue: LevelQueue | undefined) {
    this.queue = queue;
  }
}

/** The lanes of one queue at one level. */
export class QueueTurns {
  readonly siblings: QueueLines;
  readonly heap = new TurnHeap();
  /** Lanes of limited tasks among them, also those passed over in the claim under way. */
  limited = 0;
  /** Turns of forgotten lines, by the name of their lane. */
  readonly forgotten = new Map<string, LaneTurn>();

  constructor(siblings: QueueLines) {
    this.siblings = siblings;
  }
}

/** The time of one level. */
export class LevelTime {
  #now = 0;
  /** Where turns come in, once the time has not passed it. */
  #entry = 0;
  #serial = 0;
  #era = 0;

  /** The turn comes in, behind all that came in at the same pass. */
  enter(turn: LaneTurn): void {
    const entry = Math.max(this.#entry, this.#now);
    turn.pass = turn.era === this.#era ? Math.max(turn.pass, entry) : entry;
    turn.era = this.#era;
    turn.serial = ++this.#serial;
  }

  /**
   * It was claimed from.
   * @param lanes  How many take turns, about.
   * @returns true when {@link setBack} is due.
   */
  took(turn: LaneTurn, weight: number, lanes: number): boolean {
    this.reached(turn);
    turn.pass = this.#now + Math.max(1, Math.ceil(UNIT / weight));
    const entry = Math.max(this.#entry, this.#now) + Math.ceil(UNIT / (lanes + 1));
    this.#entry = Math.min(entry, this.#now + AHEAD);
    turn.serial = ++this.#serial;
    return this.#now > MAX_TIME;
  }

  /** It is the first one, whether it is claimed from or leaves. */
  reached(turn: LaneTurn): void {
    if (turn.pass > this.#now) this.#now = turn.pass;
  }

  /** It was out for a while and is where it was, unless the time was set back meanwhile. */
  comeBack(turn: LaneTurn): void {
    if (turn.era !== this.#era) this.enter(turn);
  }

  /** @param turns  All that are in. */
  setBack(turns: Iterable<LaneTurn>): void {
    this.#era++;
    for (const turn of turns) {
      turn.pass = Math.max(0, turn.pass - this.#now);
      turn.era = this.#era;
    }
    this.#entry = Math.max(0, this.#entry - this.#now);
    this.#now = 0;
  }
}

/** A binary heap whose members know their places. */
export class TurnHeap {
  readonly #turns: LaneTurn[] = [];

  get size(): number {
    return this.#turns.length;
  }

  get top(): LaneTurn | undefined {
    return this.#turns[0];
  }

  [Symbol.iterator](): Iterator<LaneTurn> {
    return this.#turns.values();
  }

  add(turn: LaneTurn): void {
    turn.at = this.#turns.length;
    this.#turns.push(turn);
    this.#up(turn);
  }

  remove(turn: LaneTurn): void {
    const last = this.#turns.pop()!;
    const { at } = turn;
    turn.at = -1;
    if (last === turn) return;
    this.#put(last, at);
    this.moved(last);
  }

  /** Its pass has changed. */
  moved(turn: LaneTurn): void {
    this.#up(turn);
    this.#down(turn);
  }

  #up(turn: LaneTurn): void {
    let { at } = turn;
    while (at > 0) {
      const parent = this.#turns[(at - 1) >> 1]!;
      if (!isBefore(turn, parent)) break;
      this.#put(parent, at);
      at = (at - 1) >> 1;
    }
    this.#put(turn, at);
  }

  #down(turn: LaneTurn): void {
    const turns = this.#turns;
    let { at } = turn;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= turns.length) break;
      if (child + 1 < turns.length && isBefore(turns[child + 1]!, turns[child]!)) child++;
      if (!isBefore(turns[child]!, turn)) break;
      this.#put(turns[child]!, at);
      at = child;
    }
    this.#put(turn, at);
  }

  #put(turn: LaneTurn, at: number): void {
    this.#turns[at] = turn;
    turn.at = at;
  }
}

/** Whether it is the turn of `a`. Who was passed over with a paused queue goes first, and once only. */
export function isBefore(a: LaneTurn, b: LaneTurn): boolean {
  return a.pass < b.pass || (a.pass === b.pass && a.serial < b.serial);
}
