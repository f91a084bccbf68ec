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
      filter.state === undefined ? (['blocked', 'scheduled', 'ready', 'running'] as const) : [filter.state];
    let count = 0;
    const cancel = (id: TaskId): Promise<number> => this.#cancelOne(id);
    for (const state of states) {
      // A child that matches is cancelled with its parent, instead of being dead with it.
      count += await (state === 'blocked'
        ? this.#forEachBackwards({ ...filter, state }, cancel)
        : this.#forEach({ ...filter, state }, cancel));
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
    for await (const { tasks } of this.#pages(filter)) count += await sumOf(tasks.map(({ id }) => verb(id)));
    return count;
  }

  /** The same from the last task to the first: of those that are blocked, children before their parents. */
  async #forEachBackwards(filter: TaskFilter, verb: (id: TaskId) => Promise<number>): Promise<number> {
    const starts: (string | undefined)[] = [];
    for await (const { start, tasks } of this.#pages(filter)) if (tasks.length > 0) starts.push(start);
    let count = 0;
    for (const start of starts.reverse()) {
      const { tasks } = await this.#inspect.list(filter, SLICE_TASKS, start, 'brief');
      count += await sumOf(tasks.toReversed().map(({ id }) => verb(id)));
    }
    return count;
  }

  /** With a turn of the event loop behind each page, of which many may be empty. */
  async *#pages(filter: TaskFilter) {
    let start: string | undefined;
    do {
      const { tasks, after }: Page = await this.#inspect.list(filter, SLICE_TASKS, start, 'brief');
      yield { start, tasks };
      start = after;
      await new Promise(setImmediate);
    } while (start !== undefined);
  }

  #isSensitive({ name, queue, options }: TaskView): boolean {
    const { registry } = this.#parts.coordinator;
    if (options?.sensitive !== undefined) return options.sensitive;
    return registry.entry(name).definition?.sensitive ?? registry.queue(queue).defaults.sensitive ?? false;
  }
}

/** Of those that did not fail. */
async function sumOf(counts: readonly Promise<number>[]): Promise<number> {
  const done = await Promise.allSettled(counts);
  return done.reduce((sum, each) => (each.status === 'fulfilled' ? sum + each.value : sum), 0);
}

function inspectOf(inspect: Inspect | undefined, why = 'not implemented'): Inspect {
  if (inspect === undefined) throw new UnsupportedError('inspection', why);
  return inspect;
}
