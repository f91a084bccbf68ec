/**
 * When the dispatcher looks for work: at the end of a turn of the event loop in which something may have
 * become claimable, once for all of it. A round may itself resume lines that waited for permits, and so ask
 * for another one; where lanes that cannot start make way for each other again and again, that ends, so that
 * the host has its turn.
 */
import type { Clock } from '../clock.js';

/** So many rounds may follow each other in which nothing was found. */
const MAX_VAIN_ROUNDS = 1_000;
const LOOK_AGAIN_MS = 20;

export class Rounds {
  readonly #clock: Clock;
  readonly #run: () => void;
  #isScheduled = false;
  /** Rounds asked for by rounds, since something was found or something else has happened. */
  #vain = 0;

  constructor(clock: Clock, run: () => void) {
    this.#clock = clock;
    this.#run = run;
  }

  /** Something has happened. */
  wake(): void {
    this.#vain = 0;
    this.#schedule();
  }

  /** A round has resumed lines. */
  wakeAgain(): void {
    this.#vain++;
    if (this.#vain <= MAX_VAIN_ROUNDS) this.#schedule();
    else if (this.#vain === MAX_VAIN_ROUNDS + 1) this.#clock.arm(LOOK_AGAIN_MS, () => this.wake());
  }

  /** A round begins: what happens from now on is for the next one. */
  begin(): void {
    this.#isScheduled = false;
  }

  /** A round has handed something over. */
  foundSomething(): void {
    this.#vain = 0;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(this.#run);
  }
}
