/** Schedules as users see them: types laid over a desk, as `Access` lays them over its tasks. */
import { Handle, type HandleHost } from './handle.js';
import type { CheckedRule, FirePlan, ScheduleOptions, ScheduleRule } from './options/schedule-types.js';
import type { PageRequest } from './run/filters.js';
import type { ScheduleView } from './run/schedules/desk.js';
import { type Codec, decodeValue } from './task/codec.js';

export type {
  AtRule,
  CalendarFunction,
  CronRule,
  EveryRule,
  MisfirePolicy,
  NextRule,
  OverlapPolicy,
  ScheduleOptions,
  ScheduleRule,
} from './options/schedule-types.js';
export { daily, everyMinutes, type Weekday, weekly } from './schedule/rules.js';

/** Everything known of a schedule. Its options stand in two places: its own here, its tasks' in `options`. */
export interface ScheduleInfo extends Omit<ScheduleView, 'body' | 'plan' | 'rule'>, FirePlan {
  readonly rule: CheckedRule;
  /** Decoded on each access; `undefined` in lists, and where its tasks are `sensitive`.
   *  @throws {UnknownCodecError} {@link NotDecodableError} */
  readonly payload: unknown;
}

/** Some of the schedules that a list has. */
export interface SchedulesPage {
  readonly schedules: readonly ScheduleInfo[];
  /** Absent at the end. */
  readonly after?: string;
}

/** What is done with schedules that are there; `runtime.schedules` and `client.schedules`. */
export class Schedules {
  readonly #host: HandleHost;
  readonly #codecs: ReadonlyMap<string, Codec>;

  /** Use `runtime.schedules` or `client.schedules`. */
  constructor(host: HandleHost) {
    this.#host = host;
    this.#codecs = host.codecs;
  }

  /** For `Access.schedule`. */
  async set(
    id: string,
    rule: ScheduleRule,
    name: string,
    payload: unknown,
    options: ScheduleOptions | undefined,
  ): Promise<ScheduleInfo & { readonly isNew: boolean }> {
    const { isNew, view } = await this.#host.desk.schedules.set({ id, rule, name, payload, options });
    return Object.assign(describeSchedule(view, this.#codecs), { isNew });
  }

  /** Everything known of a schedule, its next five fires too; `undefined` when there is none of this id. */
  async get(id: string): Promise<ScheduleInfo | undefined> {
    const view = await this.#host.desk.schedules.get(id);
    return view === undefined ? undefined : describeSchedule(view, this.#codecs);
  }

  /** At most `limit` (1 to 1,000, default 100) schedules, by id; give `after` back for the next page. */
  async list(page: PageRequest = {}): Promise<SchedulesPage> {
    const { schedules: views, after } = await this.#host.desk.schedules.list(page);
    const schedules = views.map((view) => describeSchedule(view, this.#codecs));
    return after === undefined ? { schedules } : { schedules, after };
  }

  /**
   * Fires no more until `resume`, also after a restart. Fires that fall into the pause are not made up.
   * @throws (rejects) {UnknownScheduleError}
   */
  pause(id: string): Promise<void> {
    return this.#host.desk.schedules.setPaused(id, true);
  }

  /** @throws (rejects) {UnknownScheduleError} */
  resume(id: string): Promise<void> {
    return this.#host.desk.schedules.setPaused(id, false);
  }

  /** Fires no more and is forgotten; tasks that it made go on. @returns whether it was there. */
  delete(id: string): Promise<boolean> {
    return this.#host.desk.schedules.delete(id);
  }

  /**
   * Enqueues a task of the schedule at once, beside its fires: neither `runs` nor `overlap` know of it.
   * @throws (rejects) {UnknownScheduleError}, and as `enqueue`
   */
  async runNow(id: string): Promise<Handle> {
    return new Handle(await this.#host.desk.schedules.runNow(id), this.#host);
  }
}

function describeSchedule(view: ScheduleView, codecs: ReadonlyMap<string, Codec>): ScheduleInfo {
  const { body, plan, ...rest } = view;
  return {
    ...rest,
    ...plan,
    get payload() {
      return body === undefined ? undefined : decodeValue(body, codecs);
    },
  };
}
