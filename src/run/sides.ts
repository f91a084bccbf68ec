/**
 * A thread and the child process beside it are two sides of one place: what runs there runs on one of them,
 * so that threads and children at work are together never more than `threads`. Says which tasks need a child
 * and which side of a place is in use; what goes where, and when, is the dispatcher's business.
 */
import type { Head, Verdict } from '../broker/broker.js';
import type { Pool, Slot } from '../pool/pool.js';
import type { NameEntry } from './registry.js';
import type { RunningItem } from './running-item.js';

/** So many lines are passed over in one claim because their heads wait for a child. */
const MOST_WAITING = 1_000;

export class Sides {
  readonly #pool: Pool<RunningItem>;
  readonly #hasChildren: boolean;
  /** Until a task has needed a child, nobody looks at them. */
  #isUsed = false;
  /** Lines passed over in the claim under way. */
  #passedOver = 0;

  constructor(pool: Pool<RunningItem>) {
    this.#pool = pool;
    this.#hasChildren = pool.children.length > 0;
  }

  /**
   * Whether a task runs in a child: because it says so, because its last owner died while it may have been
   * running, or because something has died under it before. Where there are no children, threads take it.
   */
  needsChild(entry: NameEntry, head: Head): boolean {
    if (!this.#hasChildren) return false;
    if (head.suspect || head.hasCrashed) return true;
    return entry.isolationOf(head.queue, head.options) === 'process';
  }

  /** Whether it needs a child and none is there yet. */
  isWaiting(entry: NameEntry, head: Head): boolean {
    return this.needsChild(entry, head) && !this.#pool.children.some((child) => child.isReady);
  }

  beginClaim(): void {
    this.#passedOver = 0;
  }

  /**
   * For a head that waits for a child: what stands in other lines goes on, but where there are very many of
   * such lanes nobody looks at all of them. What stands behind those waits until a child is there.
   */
  passOver(): Verdict {
    return ++this.#passedOver < MOST_WAITING ? 'skip' : 'stop';
  }

  /** Of each place the side in use, of an idle one the thread; idle ones first. Some may not be ready. */
  byNeed(): Slot<RunningItem>[] {
    const { slots, children } = this.#pool;
    const sides = this.#isUsed
      ? slots.map((slot, index) => (isBusy(children[index]) ? children[index]! : slot))
      : slots.filter((slot) => slot.isReady);
    return sides.sort((a, b) => a.batches.length - b.batches.length);
  }

  /** The child beside a thread of an idle place, once it is ready; until then it boots. */
  childOf({ index }: Slot<RunningItem>): Slot<RunningItem> | undefined {
    this.#isUsed = true;
    const { slots, children } = this.#pool;
    if (children[index]?.isReady === true) return children[index];
    // An idle place whose child is warm takes it sooner.
    const isOther = (child: Slot<RunningItem>) =>
      child.isReady && !isBusy(child) && !isBusy(slots[child.index]);
    if (!children.some(isOther)) this.#pool.warm(index);
    return undefined;
  }

  /** Whether an idle place could run what another one has been given. */
  canHelp(idle: Slot<RunningItem>, other: Slot<RunningItem>): boolean {
    return other.isolation === 'thread' ? idle.isReady : this.#pool.children[idle.index]?.isReady === true;
  }
}

function isBusy(slot: Slot<RunningItem> | undefined): boolean {
  return slot !== undefined && slot.batches.length > 0;
}
