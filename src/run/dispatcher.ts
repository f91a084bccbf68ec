/**
 * Decides which slot gets which tasks, and when. Looks at the best head, takes as much as is worth one
 * message, and takes back what it has handed over when something better comes up. Never reads a payload,
 * never touches storage but through the broker's claim.
 *
 *   - spread first, then batch: a batch holds at most ceil(waiting / slots) tasks;
 *   - a batch lasts about 1 ms while little waits and up to 10 ms while the backlog is deep;
 *   - one batch runs, one is prefetched behind it, and only when the running one is short;
 *   - unstarted tasks are recalled for a better level, an idle slot, a pause, a cancel, a stop, or a long
 *   batch.
 */
import type { Broker, Claim, Head, Verdict } from '../broker/broker.js';
import type { Clock, Disarm } from '../clock.js';
import type { Pool, Slot } from '../pool/pool.js';
import type { Executor } from './executor.js';
import { Fill, isLimited } from './fill.js';
import { LimitedClaims } from './limited-claims.js';
import type { Limiting } from './limiting.js';
import { LONG_BATCH_AFTER_MS, Recall } from './recall.js';
import type { NameEntry, QueueRule, Registry } from './registry.js';
import type { RunningBatch, RunningItem } from './running-item.js';
import { Sides } from './sides.js';

/** Nothing is prefetched behind a task expected to run longer than this. */
const PREFETCH_MS = 20;

/** Who is told of what the dispatcher met. */
export interface DispatcherHost {
  /** Tasks were moved aside because nobody handles their names. */
  parked(): void;
  /** The broker threw when it was asked for tasks. */
  failed(error: unknown): void;
}

/** How soon a broker is asked again that could not be asked. */
const ASK_AGAIN_MS = 1_000;

export class Dispatcher {
  readonly #broker: Broker;
  readonly #pool: Pool<RunningItem>;
  readonly #executor: Executor;
  readonly #registry: Registry;
  readonly #limiting: Limiting;
  readonly #limited: LimitedClaims;
  readonly #sides: Sides;
  readonly #recall: Recall;
  readonly #clock: Clock;
  readonly #round: () => void;
  #isRoundDue = false;
  #isStopped = true;
  #isClaiming = false;
  #longCheck: Disarm | undefined;
  #hasParked = false;
  readonly #host: DispatcherHost;

  constructor(
    host: DispatcherHost,
    broker: Broker,
    pool: Pool<RunningItem>,
    executor: Executor,
    registry: Registry,
    limiting: Limiting,
    clock: Clock,
  ) {
    this.#host = host;
    this.#broker = broker;
    this.#pool = pool;
    this.#executor = executor;
    this.#sides = new Sides(pool);
    this.#recall = new Recall(executor, this.#sides);
    this.#registry = registry;
    this.#limiting = limiting;
    this.#limited = new LimitedClaims(limiting);
    this.#clock = clock;
    this.#round = () => void this.#runRound().catch((error) => this.#failed(error));
  }

  start(): void {
    this.#isStopped = false;
    this.wake();
  }

  /** No further start; what threads have not started comes back. */
  stop(): void {
    this.#isStopped = true;
    this.#longCheck?.();
    this.#longCheck = undefined;
    this.recallWhere(() => true);
  }

  /** Something may have become claimable: looks for work at the end of this turn, once for all of it. */
  wake(): void {
    if (this.#isStopped || this.#isRoundDue) return;
    this.#isRoundDue = true;
    queueMicrotask(this.#round);
  }

  /** Takes back all unstarted tasks that `wanted` names. */
  recallWhere(wanted: (item: RunningItem) => boolean): void {
    this.#recall.where(wanted);
    this.wake();
  }

  async #runRound(): Promise<void> {
    // What happens from now on is for the next one.
    this.#isRoundDue = false;
    if (this.#isStopped || this.#isClaiming) return;
    this.#limited.beginRound();
    this.#recallForBetter();
    for (let goesOn = true; goesOn; ) {
      goesOn = false;
      this.#limited.beginPass();
      // Each slot gets one batch before any gets another.
      for (const slot of this.#sides.byNeed()) {
        if (!this.#mayTakeMore(slot)) continue;
        const handed = this.#fillSlot(slot);
        if (typeof handed !== 'boolean') {
          await this.#awaitClaims(handed);
          return;
        }
        if (handed) goesOn = true;
        else if (slot.batches.length === 0 && this.#recall.half(slot) > 0) void this.#fillSlot(slot);
      }
      if (!goesOn) goesOn = this.#limited.opensMore();
    }
    this.#watchLong();
    if (!this.#hasParked) return;
    this.#hasParked = false;
    this.#host.parked();
  }

  /** The broker could not be asked. Nothing is lost by that; it is asked again in a while. */
  #failed(error: unknown): void {
    if (this.#isStopped) return;
    this.#host.failed(error);
    this.#clock.arm(ASK_AGAIN_MS, () => this.wake());
  }

  /** For a broker that answers later: no other claim meanwhile. */
  async #awaitClaims(handed: Promise<boolean>): Promise<void> {
    this.#isClaiming = true;
    try {
      await handed;
    } finally {
      this.#isClaiming = false;
    }
    this.wake();
  }

  #mayTakeMore(slot: Slot<RunningItem>): boolean {
    const [first] = slot.batches;
    if (first === undefined) return true;
    const running = this.#ofBatch(slot, 0);
    if (first.parallel) {
      if (running === undefined || running.items[0]!.claim.suspect) return false;
      return slot.batches.length < this.#registry.queue(running.queue).perThread;
    }
    if (slot.batches.length >= 2 || running === undefined) return false;
    if (this.#clock.monotonic() - first.handedAt > LONG_BATCH_AFTER_MS) return false;
    return running.items.every((item) => item.entry.expectedMs <= PREFETCH_MS && !item.claim.suspect);
  }

  /** True when something was handed over; a promise of it where the broker answers later. */
  #fillSlot(slot: Slot<RunningItem>): boolean | Promise<boolean> {
    // A hint: what is only in the store may not be in it, so nothing is concluded from 0.
    const backlog = this.#broker.backlog();
    const slots = Math.max(1, this.#pool.slots.length);
    const [first] = slot.batches;
    const parallel =
      first?.parallel === true ? this.#registry.queue(this.#ofBatch(slot, 0)!.queue) : undefined;
    const fill = new Fill(slot, backlog / slots, parallel);
    this.#limited.beginClaim(fill);
    this.#sides.beginClaim();
    const accept = this.#limiting.isUsed
      ? (head: Head) => this.#acceptCounted(fill, head)
      : (head: Head) => this.#accept(fill, head);
    const claims = this.#broker.claim(accept, fill.most);
    return isArray(claims) ? this.#hand(fill, claims) : claims.then((later) => this.#hand(fill, later));
  }

  #hand(fill: Fill, claims: readonly Claim[]): boolean {
    this.#limited.endClaim(fill, claims, this.#broker.endedEarly);
    if (claims.length === 0) return false;
    const now = this.#clock.now();
    const fresh = claims.filter((claim) => claim.staleAt === undefined || claim.staleAt > now);
    if (fresh.length < claims.length) {
      this.#executor.cancelStale(claims.filter((claim) => !fresh.includes(claim)));
      this.wake();
    }
    if (fresh.length > 0) this.#executor.hand(fill.slot, fresh, fill.parallelQueue !== undefined);
    return fresh.length > 0;
  }

  /** Where there are limits. */
  #acceptCounted(fill: Fill, head: Head): Verdict {
    const verdict = fill.permit === undefined ? this.#accept(fill, head) : 'stop';
    this.#limited.decided(head, verdict);
    return verdict;
  }

  #accept(fill: Fill, head: Head): Verdict {
    const entry = this.#registry.entry(head.name);
    const rule = this.#registry.queue(head.queue);
    const verdict = this.#mayRun(fill.slot, entry, rule, head);
    if (verdict !== 'take') return verdict;
    const needsChild = this.#sides.needsChild(entry, head);
    if (needsChild !== (fill.slot.isolation === 'process')) {
      const turned = this.#turnToChild(fill, needsChild, head);
      if (turned !== 'take') return turned;
    } else if (!fill.isReady) return 'stop';
    const isCounted = this.#limiting.isUsed && this.#limiting.limits.isCounted(head);
    const taken = fill.take(head, rule, entry.expectedMs, isCounted);
    if (isCounted && taken === 'take') fill.permit = this.#limiting.limits.take(head);
    return taken;
  }

  /**
   * What needs the other side waits until the place is idle, and nothing is prefetched past it. While no
   * child is there yet, suspects wait by themselves, and other tasks with their line.
   */
  #turnToChild(fill: Fill, needsChild: boolean, { suspect }: Head): Verdict {
    if (!needsChild || fill.count > 0) return 'stop';
    const isIdle = fill.slot.batches.length === 0;
    const child = this.#sides.childOf(fill.slot);
    if (child === undefined && suspect) return 'pass';
    if (child === undefined && isIdle) return this.#sides.passOver();
    if (child === undefined || !isIdle) return 'stop';
    fill.turnTo(child);
    return 'take';
  }

  /** Whether a head may run now, on this slot; without one, on a slot that has nothing of its queue. */
  #mayRun(slot: Slot<RunningItem> | undefined, entry: NameEntry, rule: QueueRule, head: Head): Verdict {
    if (rule.isPaused || !rule.isServed) return 'skipQueue';
    if (!entry.isHandled) {
      if (head.lane === head.name) return 'skip';
      this.#hasParked = true;
      return 'park';
    }
    if (!this.#limiting.isUsed) return this.#hasThread(slot, rule) ? 'take' : 'skipQueue';
    const { limits } = this.#limiting;
    const lane = limits.laneOf(head);
    if (lane !== '' && head.lane !== lane) return { aside: lane };
    return this.#hasThread(slot, rule) ? limits.check(head) : 'skipQueue';
  }

  /** Whether a task of the queue may have this slot, by the number of its threads. */
  #hasThread(slot: Slot<RunningItem> | undefined, rule: QueueRule): boolean {
    if (!isLimited(rule)) return true;
    const others = new Set<Slot<RunningItem>>();
    for (const { queue, batch } of this.#executor.batches) {
      if (queue === rule.name && batch.slot !== slot) others.add(batch.slot);
    }
    return others.size < rule.maxThreads;
  }

  /** Takes back tasks of a lower rank than the best that waits. */
  #recallForBetter(): void {
    const lowest = this.#recall.lowestRank();
    if (lowest === 9) return;
    let best = -1;
    this.#sides.beginClaim();
    const peeked = this.#broker.claim((head) => {
      const entry = this.#registry.entry(head.name);
      const verdict = this.#mayRun(undefined, entry, this.#registry.queue(head.queue), head);
      if (verdict !== 'take') return verdict;
      // Nothing makes way for what could not start.
      if (this.#sides.isWaiting(entry, head)) return head.suspect ? 'pass' : this.#sides.passOver();
      best = head.rank;
      return 'stop';
    }, 1);
    if (isArray(peeked) && best > lowest) this.#recall.below(best);
  }

  /** While something waits behind a running task, looks again soon: a long one must not hold it up. */
  #watchLong(): void {
    if (this.#longCheck !== undefined || this.#isStopped || !this.#recall.isAnythingBehind) return;
    this.#longCheck = this.#clock.arm(LONG_BATCH_AFTER_MS, () => {
      this.#longCheck = undefined;
      this.#recall.behindLong(this.#clock.monotonic());
      this.wake();
    });
  }

  #ofBatch(slot: Slot<RunningItem>, at: number): RunningBatch | undefined {
    return slot.batches[at]?.items[0] === undefined
      ? undefined
      : (slot.batches[at]!.items[0] as RunningItem).batch;
  }
}

function isArray(claims: readonly Claim[] | Promise<readonly Claim[]>): claims is readonly Claim[] {
  return Array.isArray(claims);
}
