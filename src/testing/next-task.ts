/**
 * Which task a test runtime starts next: what the dispatcher of a runtime decides, for one thread that is
 * idle and one task at a time. Runs nothing itself.
 */
import type { Claim, Head, Verdict } from '../broker/broker.js';
import type { Permit } from '../limit/limits.js';
import type { Coordinator } from '../run/coordinator.js';

export class NextTask {
  readonly #coordinator: Coordinator;

  constructor(coordinator: Coordinator) {
    this.#coordinator = coordinator;
  }

  /** The best task that may start; those that are stale are cancelled on the way. */
  async claim(): Promise<Claim | undefined> {
    const { executor, limiting } = this.#coordinator;
    for (;;) {
      if (limiting.isUsed) await this.#reserve();
      const claim = await this.#claimBest();
      if (claim === undefined) {
        if (limiting.isUsed && limiting.limits.open()) continue;
        return undefined;
      }
      if (claim.staleAt === undefined || claim.staleAt > this.#coordinator.clock.now()) return claim;
      executor.cancelStale([claim]);
    }
  }

  /** Waits until what the best heads need of their limits is written, so that none goes before them. */
  async #reserve(): Promise<void> {
    const { broker, limiting } = this.#coordinator;
    do {
      limiting.limits.begin();
      do {
        await broker.claim((head) => {
          const verdict = this.#accept(head);
          return verdict === 'take' ? 'stop' : verdict;
        }, 1);
      } while (broker.endedEarly);
    } while (await limiting.limits.whenTold());
  }

  async #claimBest(): Promise<Claim | undefined> {
    const { broker, limiting } = this.#coordinator;
    const { isUsed, limits } = limiting;
    let permit: Permit | undefined;
    const skipped = new Set<string>();
    let claim: Claim | undefined;
    do {
      [claim] = await broker.claim((head) => {
        const verdict = this.#accept(head);
        if (verdict === 'skipQueue') skipped.add(head.queue);
        if (verdict === 'take' && isUsed) permit = limits.take(head);
        return verdict;
      }, 1);
    } while (claim === undefined && broker.endedEarly);
    if (isUsed && claim === undefined) limits.foundNothing(skipped);
    if (permit !== undefined) limits.give(claim!, permit);
    return claim;
  }

  #accept(head: Head): Verdict {
    const { registry, limiting } = this.#coordinator;
    const { isPaused, isServed } = registry.queue(head.queue);
    if (isPaused || !isServed) return 'skipQueue';
    if (!registry.entry(head.name).isHandled) return head.lane === head.name ? 'skip' : 'park';
    if (!limiting.isUsed) return 'take';
    const lane = limiting.limits.laneOf(head);
    return lane !== '' && head.lane !== lane ? { aside: lane } : limiting.limits.check(head);
  }
}
