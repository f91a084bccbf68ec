/**
 * What an operator does to tasks: look at them, cancel, redrive, delete; one by one or by filter, in slices.
 */
import type { Backend } from '../broker/broker.js';
import type { Counts, Inspect, Page, TaskFilter } from '../broker/inspect.js';
import { UnsupportedError } from '../errors.js';
import type { RuntimeOptions } from '../options/types.js';
import { DEFAULT_RULES } from '../options.js';
import type { TaskId, TaskState, TaskView } from '../task/task.js';
import type { Coordinator } from './coordinator.js';
import { checkFilter, checkPage, type PageRequest } from './filters.js';

export interface AdministrationParts {
  readonly backend: Backend;
  readonly coordinator: Coordinator;
  readonly options: RuntimeOptions;
}

/** How often a page is asked for until it holds something; beyond, it may be empty before the end. */
const MAX_LOOKS = 100;
/** Tasks that a bulk verb touches between two turns of the event loop. */
const SLICE_TASKS = 500;

export class Administration {
  readonly #parts: AdministrationParts;

  constructor(parts: AdministrationParts) {
    this.#parts = parts;
  }

  async get(id: TaskId): Promise<TaskView | undefined> {
    const view = await this.#inspect.get(id);
    return view === undefined ? undefined : this.concealed(view);
  }

  async list(filter: TaskFilter, page: PageRequest): Promise<Page> {
    const { limit, after } = checkPage(page);
    const checked = checkFilter(filter);
    let found = await this.#inspect.list(checked, limit, after);
    // The backend looks at a bounded number of rows at a time; an empty page is of no use to anybody.
    for (let look = 1; look < MAX_LOOKS && found.tasks.length === 0 && found.after !== undefined; look++) {
      await new Promise(setImmediate);
      found = await this.#inspect.list(checked, limit, found.after);
    }
    return { ...found, tasks: found.tasks.map(this.concealed) };
  }

  /** Also after the end: the counters stay in memory. */
  counts(): Counts {
    const { inspect, broker } = this.#parts.backend;
    return inspectOf(inspect, broker.lacks.inspect).counts();
  }

  /** The view without what its task hides. */
  readonly concealed = (view: TaskView): TaskView => {
    if (!this.#isSensitive(view)) return view;
    const { body: _body, result: _result, ...rest } = view;
    return rest;
  };

  async stateOf(id: TaskId): Promise<TaskState> {
    const view = await this.#inspect.get(id, 'brief');
    // Whether it never existed or is no longer kept, the broker knows.
    return view === undefined ? (await this.#backend.broker.settled(id)).state : view.state;
  }

  async cancel(what: TaskId | TaskFilter): Promise<number> {
    if (typeof what === 'string') return this.#cancelOne(what);
    const filter = checkFilter(what);
    const states =
      filter.state === undefined ? (['scheduled', 'ready', 'blocked', 'running'] as const) : [filter.state];
    let count = 0;
    for (const state of states) {
      count += await this.#forEach({ ...filter, state }, (id) => this.#cancelOne(id));
    }
    return count;
  }

  async redrive(what: TaskId | TaskFilter): Promise<number> {
    const redrive = (id: TaskId): Promise<number> => this.#backend.broker.redrive(id).then(() => 1);
    return typeof what === 'string'
      ? redrive(what)
      : this.#forEach({ state: 'dead', ...checkFilter(what) }, redrive);
  }

  async delete(what: TaskId | TaskFilter): Promise<number> {
    const remove = (id: TaskId): Promise<number> => this.#backend.broker.delete(id).then(() => 1);
    return typeof what === 'string'
      ? remove(what)
      : this.#forEach({ state: 'dead', ...checkFilter(what) }, remove);
  }

  /** @throws {StoppedError} */
  get #backend(): Backend {
    this.#parts.coordinator.checkReachable();
    return this.#parts.backend;
  }

  get #inspect(): Inspect {
    const { inspect, broker } = this.#backend;
    return inspectOf(inspect, broker.lacks.inspect);
  }

  async #cancelOne(id: TaskId): Promise<number> {
    const { coordinator, options } = this.#parts;
    coordinator.gather.flush();
    const view = await this.#backend.inspect?.get(id, 'brief');
    const at = options.clock.now();
    const answer = await this.#backend.broker.cancel(id, 'cancelled', at, this.#keptMs(view));
    if (answer.kind === 'final') return 0;
    if (answer.kind === 'running') coordinator.executor.cancel(answer.claim, 'cancelled');
    else coordinator.cancelled(view ?? { id, name: '', queue: '' }, at);
    return 1;
  }

  /** How long the task stays listed as cancelled. */
  #keptMs(view: TaskView | undefined): number {
    if (view === undefined) return DEFAULT_RULES.retentionMs.cancelled;
    const entry = this.#parts.coordinator.registry.entry(view.name);
    return entry.rulesOf(view.queue, view.options).retentionMs.cancelled;
  }

  /**
   * Applies a verb to all tasks that match now, page by page; a task that changed meanwhile is passed over.
   */
  async #forEach(filter: TaskFilter, verb: (id: TaskId) => Promise<number>): Promise<number> {
    let count = 0;
    let after: string | undefined;
    do {
      const page = await this.#inspect.list(filter, SLICE_TASKS, after, 'brief');
      const done = await Promise.allSettled(page.tasks.map(({ id }) => verb(id)));
      for (const result of done) if (result.status === 'fulfilled') count += result.value;
      after = page.after;
    } while (after !== undefined);
    return count;
  }

  #isSensitive({ name, queue, options }: TaskView): boolean {
    const { registry } = this.#parts.coordinator;
    if (options?.sensitive !== undefined) return options.sensitive;
    return registry.entry(name).definition?.sensitive ?? registry.queue(queue).defaults.sensitive ?? false;
  }
}

function inspectOf(inspect: Inspect | undefined, why = 'not implemented'): Inspect {
  if (inspect === undefined) throw new UnsupportedError('inspection', why);
  return inspect;
}
