/** What the dispatcher of the model says to the heads that it is shown. */
import type { Broker, Head, OrderRules, Verdict } from '#src/broker/broker.js';
import { limitLane } from '#src/task/lane.js';
import { lineOf, type Model } from './model.js';

export const CLAIM_MODES = [
  'take',
  'skip queue a',
  'skip all of queue a',
  'park name x',
  'hold key p',
  'hold queue b',
  'move name t aside',
  'move x back',
] as const;
export type ClaimMode = (typeof CLAIM_MODES)[number];

/** Where tasks are moved to. */
const ASIDE = limitLane('t', 'p');

export function verdictOf(mode: ClaimMode, { queue, lane, limitLane: own, name }: Head): Verdict {
  switch (mode) {
    case 'skip queue a':
      return queue === 'a' ? 'skip' : 'take';
    case 'skip all of queue a':
      return queue === 'a' ? 'skipQueue' : 'take';
    case 'park name x':
      return name === 'x' ? 'park' : 'take';
    case 'hold key p':
      return lane.endsWith('\0p') ? 'hold' : 'take';
    case 'hold queue b':
      return queue === 'b' ? 'hold' : 'take';
    case 'move name t aside':
      return name === 't' && lane === '' ? { aside: ASIDE } : 'take';
    case 'move x back':
      return lane === 'x' ? { aside: own } : 'take';
    default:
      return 'take';
  }
}

/** Lines whose limits are known to be out: they are held when they would have to be read from the store. */
export class Gate {
  /** Characters of their names. */
  #closed: string | undefined;

  close(part: string): void {
    this.#closed = part;
  }

  rules(model: () => Model): OrderRules {
    const isOpen = (queue: string, lane: string): boolean => {
      const line = lineOf({ queue, lane });
      if (this.#closed === undefined || !line.includes(this.#closed)) return true;
      model().hold(line);
      return false;
    };
    return { weightOf: (_, lane) => lane.length, isOpen };
  }

  /** Opens all, and resumes what is held, or held of one queue. */
  resume(what: 'all' | 'queue a', { held }: Model, broker: Broker): void {
    this.#closed = undefined;
    if (what === 'all') {
      broker.resumeAll();
      held.clear();
    }
    for (const line of held.keys()) {
      const [queue, lane] = line.split(' ') as [string, string];
      if (queue !== 'a') continue;
      broker.resumeLine(queue, lane);
      held.delete(line);
    }
  }
}
