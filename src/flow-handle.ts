/** A handle on one flow: an id with verbs, and handles of the tasks that its builder function returned. */
import type { FlowCounts, FlowId, FlowState, SettledFlow } from './broker/flows.js';
import type { FlowChain, FlowGroup, FlowStep, FlowTask } from './flow/types.js';
import { Handle, type HandleHost } from './handle.js';
import type { ResultOptions } from './options/types.js';
import { validateResultOptions } from './options.js';
import { describeTask, type TaskInfo } from './run/describe.js';
import type { PageRequest } from './run/filters.js';
import type { FlowReceipt, Member } from './run/flows/desk.js';
import { within } from './run/within.js';

const HANDLES_PER_TURN = 10_000;

/** What a builder function may return. */
export type FlowSteps = Readonly<Record<string, FlowStep>>;

/** Of a task its handle, of a group those of its tasks in order, of a chain that of its last step. */
export type HandleOf<Step> = 0 extends 1 & Step
  ? Handle
  : Step extends FlowGroup<infer Result>
    ? readonly Handle<Result>[]
    : Step extends FlowTask<infer Result>
      ? Handle<Result>
      : Step extends FlowChain<infer Last>
        ? HandleOf<Last>
        : never;
/** The handles of a flow, by the names under which its builder function returned the steps. */
export type HandlesOf<Returned> = Returned extends FlowSteps
  ? { readonly [Name in keyof Returned]: HandleOf<Returned[Name]> }
  : Readonly<Record<never, never>>;

/** One accepted flow: await, ask, cancel and redrive it as a whole. */
export class FlowHandle<Returned = unknown> {
  /** 26 characters of `[0-9a-v]`; valid in every process that opens the same backend. */
  readonly id: FlowId;
  /** By the names that the builder function gave; none on a flow that was accepted elsewhere or earlier. */
  readonly handles: HandlesOf<Returned>;
  readonly #host: HandleHost;

  /** Use `runtime.flow` or `runtime.flows.handle`. */
  constructor(id: FlowId, handles: HandlesOf<Returned>, host: HandleHost) {
    this.id = id;
    this.handles = handles;
    this.#host = host;
  }

  /** For `runtime.flow`. */
  static async of<Returned>({ id, returned }: FlowReceipt, host: HandleHost): Promise<FlowHandle<Returned>> {
    const handles: Record<string, Handle | readonly Handle[]> = {};
    for (const [name, members] of returned) {
      handles[name] = 'id' in members ? handleOf(members, host) : await handlesOf(members, host);
    }
    return new FlowHandle(id, Object.freeze(handles) as HandlesOf<Returned>, host);
  }

  /** `running` until every task of it is final. @throws {UnknownFlowError} {@link FlowExpiredError} */
  async state(): Promise<FlowState> {
    const view = await this.#host.desk.flows.get(this.id);
    // Whether it never existed or is no longer kept, the owner knows.
    return view === undefined ? (await this.#host.desk.flows.settled(this.id)).state : view.state;
  }

  /** How many tasks it has, and how many of them are where. @throws as {@link FlowHandle.state} */
  async progress(): Promise<FlowCounts> {
    const { total, blocked, completed, dead, cancelled } =
      (await this.#host.desk.flows.get(this.id)) ?? (await this.#host.desk.flows.settled(this.id));
    return { total, blocked, completed, dead, cancelled };
  }

  /**
   * How the flow has ended, once every task of it is final; not missed when it was before.
   * @throws (rejects) {@link UnknownFlowError} {@link FlowExpiredError}
   * @throws (rejects) {@link WaitTimeoutError} after `timeoutMs`; the flow goes on. An abort of `signal`
   *   rejects with its reason.
   */
  async settled(options?: ResultOptions): Promise<SettledFlow> {
    if (options === undefined) return this.#host.desk.flows.settled(this.id);
    const { timeoutMs, signal } = validateResultOptions(options, 'options');
    const settled = this.#host.desk.flows.settled(this.id);
    return within(settled, `Flow ${this.id}`, timeoutMs, signal);
  }

  /** Its tasks, those that handlers added at the end, page by page as {@link Access.list}. */
  async tasks(
    page: PageRequest = {},
  ): Promise<{ readonly tasks: readonly TaskInfo[]; readonly after?: string }> {
    const { tasks: views, after } = await this.#host.desk.flows.tasks(this.id, page);
    const tasks = views.map((view) => describeTask(view, this.#host.codecs));
    return after === undefined ? { tasks } : { tasks, after };
  }

  /**
   * Cancels every task that is not final: nothing of it starts any more, running ones are aborted. False when
   * the flow had ended before. @throws (rejects) {@link UnknownFlowError} {@link FlowExpiredError}
   */
  cancel(): Promise<boolean> {
    return this.#host.desk.flows.cancel(this.id);
  }

  /**
   * Sends every dead or cancelled task of it round again with fresh counts; those that come after them wait
   * for them again. @throws (rejects) {@link WrongFlowStateError} when there is none, or while it is being
   *   cancelled; {@link UnknownFlowError} {@link FlowExpiredError}
   */
  redrive(): Promise<void> {
    return this.#host.desk.flows.redrive(this.id);
  }
}

function handleOf({ id, isNew }: Member, host: HandleHost): Handle {
  return new Handle({ id, isNew, settled: () => host.desk.settled(id) }, host);
}

async function handlesOf(members: readonly Member[], host: HandleHost): Promise<readonly Handle[]> {
  const handles: Handle[] = [];
  for (const member of members) {
    // The host goes on while a million handles are made.
    if (handles.push(handleOf(member, host)) % HANDLES_PER_TURN === 0) await new Promise(setImmediate);
  }
  return handles;
}
