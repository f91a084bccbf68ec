/** Flows where the owner may change; see `moving-desk.ts`. */
import type { FlowId, FlowPage, FlowView, SettledFlow } from '../../broker/flows.js';
import type { Page } from '../../broker/inspect.js';
import type { FlowOptions, FlowPlan } from '../../flow/types.js';
import type { PageRequest } from '../../run/filters.js';
import type { FlowDesk, FlowReceipt } from '../../run/flows/desk.js';

/** Asks whoever owns the tasks, `once`: not again after it was sent. */
export type AskOwner = <Value>(
  question: (flows: FlowDesk) => Promise<Value>,
  times?: 'once',
) => Promise<Value>;

export class MovingFlows implements FlowDesk {
  readonly #ask: AskOwner;

  constructor(ask: AskOwner) {
    this.#ask = ask;
  }

  enqueue(plan: FlowPlan, options: FlowOptions): Promise<FlowReceipt> {
    return this.#ask((flows) => flows.enqueue(plan, options), 'once');
  }

  get(id: FlowId): Promise<FlowView | undefined> {
    return this.#ask((flows) => flows.get(id));
  }

  list(page: PageRequest): Promise<FlowPage> {
    return this.#ask((flows) => flows.list(page));
  }

  tasks(id: FlowId, page: PageRequest): Promise<Page> {
    return this.#ask((flows) => flows.tasks(id, page));
  }

  settled(id: FlowId): Promise<SettledFlow> {
    return this.#ask((flows) => flows.settled(id));
  }

  cancel(id: FlowId): Promise<boolean> {
    return this.#ask((flows) => flows.cancel(id));
  }

  redrive(id: FlowId): Promise<void> {
    return this.#ask((flows) => flows.redrive(id), 'once');
  }

  delete(id: FlowId): Promise<void> {
    return this.#ask((flows) => flows.delete(id), 'once');
  }
}
