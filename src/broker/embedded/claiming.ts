/** How tasks go out: the best head is looked at, and what becomes of it is the caller's word. */
import type { Head, Verdict } from '../broker.js';
import { AgedClaim, type EmbeddedClaim } from './claim.js';
import type { Core } from './core.js';
import type { LevelQueue, Line } from './line.js';
import { refill } from './loading.js';
import { Look } from './look.js';
import type { Readying } from './readying.js';
import type { Segment } from './segment.js';

type Accept = (head: Head) => Verdict;

export class Claiming {
  readonly #core: Core;
  readonly #readying: Readying;
  readonly #look: Look;

  constructor(core: Core, readying: Readying) {
    this.#core = core;
    this.#readying = readying;
    this.#look = new Look((queue) => this.#read(queue));
  }

  claim(accept: Accept, max: number): EmbeddedClaim[] {
    const { lines } = this.#core;
    const look = this.#look;
    const claims: EmbeddedClaim[] = [];
    look.begin();
    while (claims.length < max && !look.isSpent) {
      const queue = lines.best(look);
      const segment = queue?.front(look.withSuspects);
      if (queue === undefined || segment === undefined) break;
      const verdict = this.#claimFrom(queue, segment, accept, max, claims);
      if (verdict === 'stop') break;
      if (verdict === 'skip') lines.skip(queue, look);
      else if (verdict === 'skipQueue') lines.skipQueue(queue, look);
      else if (verdict === 'hold') this.#hold(queue.line);
      else if (verdict === 'pass') look.withSuspects = false;
    }
    if (look.passedOver.length > 0) lines.restore(look);
    // In a turn of its own: the host goes on meanwhile.
    if (look.isSpent) setImmediate(() => this.#core.wake());
    return claims;
  }

  get endedEarly(): boolean {
    return this.#look.isSpent;
  }

  /** Out of all claims until it is resumed. */
  #hold(line: Line): void {
    const { lines, room } = this.#core;
    this.#look.spend();
    lines.hold(line);
    this.#core.heldTasks += waitingIn(line);
    room.note(line);
    if (this.#core.isWindowFull) room.make('keep others');
  }

  /** @returns whether it may have tasks. */
  resume(line: Line): boolean {
    if (!line.isHeld) return false;
    this.#core.heldTasks -= waitingIn(line);
    const isWoken = this.#core.lines.resume(line);
    this.#core.room.note(line);
    return isWoken;
  }

  /** Stays in one segment while it lasts, where no other line can get better meanwhile. */
  #claimFrom(
    queue: LevelQueue,
    segment: Segment,
    accept: Accept,
    max: number,
    claims: EmbeddedClaim[],
  ): Verdict {
    const core = this.#core;
    const { withSuspects, isAged } = this.#look;
    const stays = core.lines.staysBest(queue);
    const most = stays ? max : claims.length + 1;
    while (claims.length < most) {
      const index = segment.firstClaimable(withSuspects);
      if (index < 0) break;
      const claim = isAged ? new AgedClaim(segment, index, core) : core.newClaim(segment, index);
      const verdict = accept(claim);
      if (verdict === 'take') {
        segment.claim(index);
        segment.claims[index] = claim;
        if (segment.resident) core.residentTasks--;
        claims.push(claim);
        if (!stays) core.lines.took(queue);
      } else if (verdict === 'park' && claim.lane !== claim.name) {
        this.#readying.park(claim);
        if (this.#look.spend()) break;
      } else if (typeof verdict === 'object') {
        return this.#moveAside(claim, verdict.aside);
      } else {
        return verdict === 'park' ? 'skip' : verdict;
      }
    }
    return 'take';
  }

  #moveAside(claim: EmbeddedClaim, lane: string): Verdict {
    if (claim.lane === lane) return 'skip';
    this.#look.spend();
    this.#readying.moveAside(claim, lane);
    return 'take';
  }

  /** See `Look`. */
  #read(queue: LevelQueue): boolean {
    if (this.#core.lines.isOpen(queue.line)) {
      refill(this.#core, queue);
      return true;
    }
    this.#hold(queue.line);
    return false;
  }
}

function waitingIn(line: Line): number {
  let waiting = 0;
  for (const { segments } of line.queues()) for (const segment of segments) waiting += segment.waiting;
  return waiting;
}
