/** `runtime.flows`: the flows of a backend by their ids, from whichever process they came. */
import type { FlowId, FlowPage, FlowView } from './broker/flows.js';
import { FlowHandle } from './flow-handle.js';
import type { HandleHost } from './handle.js';
import type { PageRequest } from './run/filters.js';

/** What is done with flows by their ids; `runtime.flows` and `client.flows`. */
export class FlowAccess {
  readonly #host: HandleHost;

  /** Use `runtime.flows`. */
  constructor(host: HandleHost) {
    this.#host = host;
  }

  /** Everything known of a flow; `undefined` when it never existed or is no longer kept. */
  get(id: FlowId): Promise<FlowView | undefined> {
    return this.#host.desk.flows.get(id);
  }

  /** A handle on a flow accepted earlier, here or elsewhere. Nothing is looked up until it is asked. */
  handle(id: FlowId): FlowHandle<void> {
    return new FlowHandle(id, Object.freeze({}), this.#host);
  }

  /** Newest first: at most `limit` (1 to 1,000, default 100) flows; give `after` back for the next page. */
  list(page: PageRequest = {}): Promise<FlowPage> {
    return this.#host.desk.flows.list(page);
  }

  /**
   * Removes a flow that has ended, and all tasks of it with their results.
   * @throws (rejects) {@link WrongFlowStateError} {@link UnknownFlowError} {@link FlowExpiredError}
   */
  delete(id: FlowId): Promise<void> {
    return this.#host.desk.flows.delete(id);
  }
}
