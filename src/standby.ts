/**
 * Stands by at a folder: asks its owner while there is one, and is the owner, in whatever way its host is
 * one, when there is none. What callers use meanwhile is one {@link MovingDesk}.
 *
 *     meet ──▶ an owner: its desk until it has gone ──▶ meet …
 *          └─▶ nobody: ours now; hold it until asked to give it up ──▶ meet …
 *
 * A client leaves a lost owner's place to runtimes for a moment: one that stands by is there at once, and one
 * that is restarted soon. Whoever comes later asks it to yield.
 */
import type { Clock } from './clock.js';
import type { Logger } from './logger.js';
import type { OwnerRole } from './owner/epoch-files.js';
import { type Meeting, meetOwner, type Ownership } from './owner/ownership.js';
import { MovingDesk, type OwnersDesk } from './remote/moving-desk.js';
import { reachOwner } from './remote/reach.js';
import type { Desk } from './run/desk.js';
import type { Codec } from './task/codec.js';

/** An ownership in use. */
export interface Post {
  readonly desk: OwnersDesk;
  /** The same desk, when it is held until the end of this process, by whom it is closed as well. */
  readonly own?: Desk;
  /** Resolves when it is to be given up. */
  readonly over: Promise<void>;
  /** Resolves when everything accepted is flushed and the folder is free. */
  close(): Promise<void>;
}

export interface StandbyParts {
  readonly folder: string;
  readonly role: OwnerRole;
  readonly codecs: ReadonlyMap<string, Codec>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What to do with the folder when it is ours. Lets go of it when it throws. */
  hold(ownership: Ownership): Promise<Post>;
}

/** How long a client leaves the place of a lost owner to others, and how often it looks for one, ms. */
const GIVE_WAY_MS = 250;
const LOOK_MS = 25;
/** How long an owner that is left has to take what was sent to it, ms. */
const FAREWELL_MS = 200;
/** Between two tries when the folder cannot be had: the first pause and the longest, ms. */
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 1_000;

export class Standby {
  readonly desk: MovingDesk;
  readonly #parts: StandbyParts;
  readonly #ending = new AbortController();
  /** Ends what is waited for now. */
  #interrupt: () => void = () => {};
  #attended: Promise<void> = Promise.resolve();
  #first: { resolve(): void; reject(error: unknown): void } | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #hasMet = false;

  constructor(parts: StandbyParts) {
    this.#parts = parts;
    this.desk = new MovingDesk(() => parts.clock.now());
  }

  /** Resolves when there is an owner to ask. @throws (rejects) when there is none and none can be made. */
  begin(): Promise<void> {
    const first = new Promise<void>((resolve, reject) => {
      this.#first = { resolve, reject };
    });
    this.#attended = this.#attend();
    return first;
  }

  /**
   * Leaves the owner, or gives the folder up, unless it is held until the end of this process. Calls that
   * wait for an owner reject with `error`.
   */
  async end(error: Error): Promise<void> {
    this.desk.end(error);
    this.#ending.abort(error);
    this.#interrupt();
    await this.#attended;
  }

  get #isEnding(): boolean {
    return this.#ending.signal.aborted;
  }

  async #attend(): Promise<void> {
    while (!this.#isEnding) {
      try {
        const isLast = await this.#meetOnce();
        if (isLast) return;
      } catch (error) {
        if (!this.#isEnding) this.#failed(error as Error);
        if (this.#first !== undefined) break;
        await this.#pause(this.#pauseMs);
        this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
      }
    }
    this.#first?.reject(this.#ending.signal.reason);
  }

  /** @returns whether the folder is ours to the end. */
  async #meetOnce(): Promise<boolean> {
    const met = await this.#meet();
    if (met.kind === 'owner') await this.#visit(met.connection);
    return met.kind === 'ownership' && (await this.#hold(met.ownership));
  }

  async #meet(): Promise<Meeting> {
    const { folder, role, clock } = this.#parts;
    const options = { role, clock, signal: this.#ending.signal };
    if (role === 'caretaker' && this.#hasMet) {
      const until = clock.monotonic() + GIVE_WAY_MS;
      while (clock.monotonic() < until) {
        const met = await meetOwner(folder, options, 'look');
        if (met.kind === 'owner') return met;
        await this.#pause(LOOK_MS);
      }
    }
    return meetOwner(folder, options);
  }

  async #visit(connection: Extract<Meeting, { kind: 'owner' }>['connection']): Promise<void> {
    const { codecs, clock } = this.#parts;
    const arrived = (desk: OwnersDesk): void => this.#arrived(desk);
    const reached = reachOwner(connection, { codecs, now: () => clock.now(), arrived });
    let disarm = (): void => {};
    this.#interruptedBy(() => {
      reached.leave();
      disarm = clock.arm(FAREWELL_MS, () => reached.cut());
    });
    try {
      const hasGreeted = await reached.over;
      // It went before it had a word with us, or it has no room for more clients.
      if (!hasGreeted) await this.#pause(FIRST_PAUSE_MS);
    } finally {
      disarm();
      this.desk.depart();
    }
  }

  async #hold(ownership: Ownership): Promise<boolean> {
    const post = await this.#parts.hold(ownership);
    this.#arrived(post.desk, post.own);
    if (post.own !== undefined) return true;
    await new Promise<void>((resolve) => {
      void post.over.then(resolve);
      this.#interruptedBy(resolve);
    });
    this.desk.depart();
    await post.close();
    return false;
  }

  #arrived(desk: OwnersDesk, own?: Desk): void {
    this.#hasMet = true;
    this.#pauseMs = FIRST_PAUSE_MS;
    this.desk.arrive(desk, own);
    this.#first?.resolve();
    this.#first = undefined;
  }

  #failed(error: Error): void {
    const { logger, folder } = this.#parts;
    this.desk.failed(error);
    this.#first?.reject(error);
    if (this.#first === undefined) logger.error({ error: error.message, folder }, 'no owner can be reached');
  }

  async #pause(ms: number): Promise<void> {
    let disarm = (): void => {};
    await new Promise<void>((resolve) => {
      disarm = this.#parts.clock.arm(ms, resolve);
      this.#interruptedBy(resolve);
    });
    disarm();
  }

  /** One thing is waited for at a time. */
  #interruptedBy(interrupt: () => void): void {
    this.#interrupt = interrupt;
    if (this.#isEnding) interrupt();
  }
}
