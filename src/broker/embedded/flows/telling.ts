/** Tells the listener of flows what happens to members that nobody settled, and which flows have ended. */
import type { EpochMs } from '../../../clock.js';
import { formatId } from '../../../task/id.js';
import type { FlowListener, FlowNews, SettledFlow } from '../../flows.js';
import type { Core } from '../core.js';
import type { TaskRecord } from '../record.js';
import type { Turn } from '../turn.js';

export class FlowTelling {
  #listener: FlowListener = NOBODY;
  readonly #core: Core;
  /** What is told once its turn is flushed. */
  #news: FlowNews[] = [];
  #turn: Turn | undefined;

  constructor(core: Core) {
    this.#core = core;
  }

  listen(listener: FlowListener): void {
    this.#listener = listener;
  }

  /** A member that was let go is to run at this instant. */
  due(at: EpochMs): void {
    this.#listener.due(at);
  }

  /** What had been put off was done, or a part of it. */
  moved(): void {
    this.#listener.moved();
  }

  memberEnded({ idBytes, name, queue }: TaskRecord, state: 'dead' | 'cancelled', reason: string): void {
    if (!this.#listener.wantsNews()) return;
    this.#add({ kind: 'member', id: formatId(idBytes), name, queue, state, reason });
  }

  flowEnded(flow: () => SettledFlow): void {
    if (this.#listener.wantsNews()) this.#add({ kind: 'flow', flow: flow() });
  }

  #add(news: FlowNews): void {
    const { turn } = this.#core.commits;
    if (turn !== this.#turn) {
      const all: FlowNews[] = [];
      this.#turn = turn;
      this.#news = all;
      turn.flushed.then(
        // A flow ends with a member, which is known of later.
        () => this.#listener.news(all.toSorted((a, b) => rankOf(a) - rankOf(b))),
        () => {},
      );
    }
    this.#news.push(news);
  }
}

function rankOf({ kind }: FlowNews): number {
  return kind === 'flow' ? 1 : 0;
}

const NOBODY: FlowListener = {
  due() {},
  moved() {},
  wantsNews: () => false,
  news() {},
};
