/**
 * All lines, and which of them is claimed from next: highest level first, unless ageing puts another before;
 * within a level as `LevelOrder` says. A line that is held, or has nothing to claim, is in no list, so that
 * claims never look at it.
 */
import type { Ageing, OrderRules } from '../broker.js';
import { LevelOrder } from './level-order.js';
import { LEVELS, type LevelQueue, type Line } from './line.js';
import type { Look } from './look.js';

export class Lines {
  readonly #levels = Array.from({ length: LEVELS }, (_, level) => new LevelOrder(level));
  /** By level: claims that passed over it while it was listed. */
  readonly #passedOver = new Float64Array(LEVELS);
  #rules: OrderRules = { weightOf: () => 1, isOpen: () => true };
  #ageing: Ageing | undefined;
  /** Level queues with tasks that are only in the store, but for those of lines that are held. */
  #spilled = 0;

  order(rules: OrderRules): void {
    this.#rules = rules;
    this.#ageing = rules.ageing;
    this.#passedOver.fill(0);
  }

  isOpen({ siblings, laneName }: Line): boolean {
    return this.#rules.isOpen(siblings.name, laneName);
  }

  /** Makes a level queue a candidate again. */
  wake(queue: LevelQueue): void {
    if (queue.isListed || queue.line.isHeld) return;
    this.#levels[queue.level]!.add(queue);
  }

  /** Sets from where on its segments are only in the store. */
  spill(queue: LevelQueue, from: number | undefined): void {
    if (!queue.line.isHeld) this.#spilled += Number(from !== undefined) - Number(queue.isSpilled);
    queue.spilledFrom = from;
  }

  /** Whether tasks wait that are only in the store, other than those of lines that are held. */
  get hasSpilled(): boolean {
    return this.#spilled > 0;
  }

  hold(line: Line): void {
    line.isHeld = true;
    for (const queue of line.queues()) {
      if (queue.isSpilled) this.#spilled--;
      if (queue.isListed) this.#levels[queue.level]!.remove(queue);
    }
  }

  /** @returns whether it may have tasks. */
  resume(line: Line): boolean {
    line.isHeld = false;
    let isWoken = false;
    for (const queue of line.queues()) {
      if (queue.isEmpty) continue;
      if (queue.isSpilled) this.#spilled++;
      this.wake(queue);
      isWoken = true;
    }
    return isWoken;
  }

  /** Nothing refers to the line any more, but its turns. */
  forget(line: Line): void {
    for (const queue of line.queues()) if (queue.isListed) this.#levels[queue.level]!.forget(queue);
  }

  /** Passes over a line until the claim ends. */
  skip(queue: LevelQueue, look: Look): void {
    queue.line.skippedIn = look.serial;
    this.#levels[queue.level]!.passOver(queue, look);
  }

  skipQueue({ line }: LevelQueue, look: Look): void {
    line.siblings.skippedIn = look.serial;
  }

  /** Ends a claim's look. */
  restore({ passedOver }: Look): void {
    for (const queue of passedOver) this.#levels[queue.level]!.restore(queue);
    passedOver.length = 0;
  }

  /** The level queue whose head is best. */
  best(look: Look): LevelQueue | undefined {
    look.isAged = false;
    const due = this.#ageing === undefined ? undefined : this.#bestDue(look, this.#ageing);
    if (due !== undefined) return due;
    for (let level = LEVELS - 1; level >= 0; level--) {
      const order = this.#levels[level]!;
      if (order.isEmpty) continue;
      const best = order.best(look);
      if (best !== undefined || look.isSpent) return best;
    }
    return undefined;
  }

  /** Whether what is claimed from stays the best while it lasts. */
  staysBest({ level }: LevelQueue): boolean {
    return this.#ageing === undefined && !this.#levels[level]!.hasTurns;
  }

  /** To be told of each claim from a queue that need not stay the best. */
  took(queue: LevelQueue): void {
    const { level, line } = queue;
    const order = this.#levels[level]!;
    if (order.hasTurns) {
      const isLimited = line.kind === 'limit';
      order.took(queue, isLimited ? this.#rules.weightOf(line.queueName, line.laneName) : 1);
    }
    if (this.#ageing === undefined) return;
    for (let other = 0; other < LEVELS; other++) {
      if (other === level || this.#levels[other]!.isEmpty) this.#passedOver[other] = 0;
      else this.#passedOver[other]!++;
    }
  }

  /** From the level that has been passed over most often, if that was often enough. */
  #bestDue(look: Look, { afterStarts }: Ageing): LevelQueue | undefined {
    for (;;) {
      let due = -1;
      for (let level = LEVELS - 1; level >= 0; level--) {
        const times = this.#passedOver[level]!;
        if (times >= afterStarts && (due < 0 || times > this.#passedOver[due]!)) due = level;
      }
      if (due < 0) return undefined;
      const best = this.#levels[due]!.best(look);
      look.isAged = best !== undefined;
      if (look.isAged || look.isSpent) return best;
      // It had nothing to claim, so nothing has waited.
      this.#passedOver[due] = 0;
    }
  }
}
