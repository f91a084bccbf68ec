/**
 * One claim's look at the lines: what it passes over, and how much it may still look at in vain. It is used
 * again by the next claim.
 */
import type { LevelQueue } from './line.js';

/** Lines that a claim may find empty or held, and tasks that it may move aside, before it ends early. */
const MOST_IN_VAIN = 1_000;

export class Look {
  serial = 0;
  /** Without them they are passed over. */
  withSuspects = true;
  /** The level looked at goes first because it was passed over for long. */
  isAged = false;
  /** Taken out of their turns until the claim ends. */
  readonly passedOver: LevelQueue[] = [];
  #inVain = 0;
  /**
   * Whether the head of a level queue, which is in the store only, is worth reading; reads it then. Otherwise
   * its line has been held.
   */
  readonly read: (queue: LevelQueue) => boolean;

  constructor(read: (queue: LevelQueue) => boolean) {
    this.read = read;
  }

  begin(): void {
    this.serial++;
    this.withSuspects = true;
    this.isAged = false;
    this.#inVain = 0;
  }

  /** The claim has to end; there may be more. */
  get isSpent(): boolean {
    return this.#inVain >= MOST_IN_VAIN;
  }

  /** @returns {@link isSpent} */
  spend(): boolean {
    return ++this.#inVain >= MOST_IN_VAIN;
  }

  isSkipped({ line }: LevelQueue): boolean {
    return line.skippedIn === this.serial || line.siblings.skippedIn === this.serial;
  }
}
