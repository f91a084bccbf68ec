/**
 * Room in the window: lanes of limited tasks and lines that are held give it up when others need it, so that
 * what cannot start does not keep out what can, and a task of each of 100,000 lanes does not stay in memory
 * with all of its segment. Only what is in the store already is let go of; it is read back when its turn
 * comes.
 */
import type { Core } from './core.js';
import type { Line } from './line.js';
import type { Segment } from './segment.js';

/** Lines looked at for one segment that needs room. Those that may not go yet are looked at again later. */
const MOST_LOOKED_AT = 16;

/**
 * Lines with segments in memory, and where the last look has ended: one that began anew would pass by the
 * places of all that have left.
 */
class Evictable {
  readonly lines = new Set<Line>();
  #left: Iterator<Line> | undefined;

  /** Another one, until all have been looked at; then from the first one on. */
  next(): Line | undefined {
    this.#left ??= this.lines.values();
    const { value, done } = this.#left.next();
    if (done !== true) return value;
    this.#left = undefined;
    return undefined;
  }
}

export class Room {
  readonly #core: Core;
  readonly #held = new Evictable();
  readonly #limited = new Evictable();

  constructor(core: Core) {
    this.#core = core;
  }

  /** A segment of it has come into memory, or it is held or resumed now. */
  note(line: Line): void {
    if (line.isHeld) this.#held.lines.add(line);
    else this.#held.lines.delete(line);
    if (line.kind === 'limit') this.#limited.lines.add(line);
  }

  forget(line: Line): void {
    this.#held.lines.delete(line);
    this.#limited.lines.delete(line);
  }

  /** Makes room by what is held; where that is not enough, by lanes whose turn is not now. */
  make(others: 'keep others' | 'evict others'): void {
    this.#evictFrom(this.#held);
    if (others === 'evict others') this.#evictFrom(this.#limited);
  }

  #evictFrom(evictable: Evictable): void {
    const { lines } = evictable;
    for (let looked = 0; looked < MOST_LOOKED_AT && this.#core.isWindowFull && lines.size > 0; looked++) {
      const line = evictable.next();
      if (line === undefined || !this.#mayGo(line)) continue;
      lines.delete(line);
      this.#evict(line);
    }
  }

  /** Nothing of it is on its way: what comes back to its place must not come before what has gone. */
  #mayGo(line: Line): boolean {
    let waiting = 0;
    for (const { segments } of line.queues()) {
      for (const segment of segments) {
        if (segment.waiting === 0) continue;
        if (!isStored(segment)) return false;
        waiting++;
      }
    }
    return line.live === waiting;
  }

  #evict(line: Line): void {
    for (const queue of line.queues()) {
      for (const segment of queue.segments.splice(0)) {
        if (segment.waiting > 0) this.#core.evictResident(segment);
      }
    }
  }
}

/** All that is known of it is in the store. */
function isStored(segment: Segment): boolean {
  const { isFlushed, left, waiting, fresh, suspects, noted } = segment;
  return isFlushed && left === waiting && fresh.length === 0 && suspects === undefined && noted === undefined;
}
