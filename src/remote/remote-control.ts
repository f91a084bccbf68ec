/** What is asked of an owner about what is there, and how it is changed: each a call with its answer. */
import type { Counts, Page, TaskFilter } from '../broker/inspect.js';
import { validateLimitRule, validateLimitScope } from '../options.js';
import { checkFilter, checkPage, type PageRequest } from '../run/filters.js';
import type { LimitInForce } from '../run/limiting.js';
import type { AnyLimitRule, LimitScope } from '../task/limit-rule.js';
import type { TaskId, TaskState } from '../task/task.js';
import type { Calls } from './calls.js';
import { receivedView, type SentView } from './forms.js';

export abstract class RemoteControl {
  /** After what was enqueued before in the same turn. */
  abstract ask(...question: Parameters<ReturnType<Calls['begin']>['send']>): Promise<unknown>;

  state(id: TaskId): Promise<TaskState> {
    return this.ask('state', { id }) as Promise<TaskState>;
  }

  async get(id: TaskId) {
    const view = (await this.ask('get', { id })) as SentView | undefined;
    return view === undefined ? undefined : receivedView(view);
  }

  async list(filter: TaskFilter, page: PageRequest): Promise<Page> {
    const args = { filter: checkFilter(filter), page: checkPage(page) };
    const found = (await this.ask('list', args)) as {
      readonly tasks: readonly SentView[];
      readonly after?: string;
    };
    const tasks = found.tasks.map((view) => receivedView(view));
    return found.after === undefined ? { tasks } : { tasks, after: found.after };
  }

  counts(): Promise<Counts> {
    return this.ask('counts', {}) as Promise<Counts>;
  }

  cancel(what: TaskId | TaskFilter): Promise<number> {
    return this.ask('cancel', { what: whatOf(what) }) as Promise<number>;
  }

  redrive(what: TaskId | TaskFilter): Promise<number> {
    return this.ask('redrive', { what: whatOf(what) }) as Promise<number>;
  }

  delete(what: TaskId | TaskFilter): Promise<number> {
    return this.ask('delete', { what: whatOf(what) }) as Promise<number>;
  }

  async setPaused(queue: string, isPaused: boolean): Promise<void> {
    await this.ask('pause', { queue, isPaused });
  }

  async setLimit(scope: LimitScope, rule: AnyLimitRule): Promise<void> {
    const whose = validateLimitScope(scope);
    await this.ask('setLimit', { scope: whose, rule: validateLimitRule(rule, whose) });
  }

  async removeLimit(scope: LimitScope): Promise<boolean> {
    return (await this.ask('removeLimit', { scope: validateLimitScope(scope) })) as boolean;
  }

  async listLimits(): Promise<readonly LimitInForce[]> {
    return (await this.ask('listLimits', {})) as readonly LimitInForce[];
  }

  async resize(threads: number): Promise<void> {
    await this.ask('resize', { threads });
  }

  async whenIdle(): Promise<void> {
    await this.ask('idle', {});
  }
}

/** @throws {UnknownOptionError} {@link InvalidArgumentError} {@link InvalidNameError} */
function whatOf(what: TaskId | TaskFilter): TaskId | TaskFilter {
  return typeof what === 'string' ? what : checkFilter(what);
}
