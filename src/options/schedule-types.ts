/** The shapes of a schedule as users give it, and as it is after its check (`Checked…`). */
import type { EpochMs } from '../clock.js';
import type { TaskOptions } from '../task/task-options.js';
import type { CheckedEnqueueOptions, EnqueueOptions } from './types.js';

/** When a schedule fires. */
export type ScheduleRule = CronRule | EveryRule | AtRule | NextRule;

/** By the fields of a clock and a calendar. */
export interface CronRule {
  /**
   * Five fields (minute, hour, day of month, month, day of week) or six with seconds in front, or a name like
   * `@daily`. `H` is a value that follows from the schedule's id. With a day of month and a day of week
   * given, it fires on both.
   */
  readonly cron: string;
  /** An IANA zone, for example `Europe/Berlin`; default UTC. */
  readonly timeZone?: string;
}

/** At an interval, which no change of clocks moves. */
export interface EveryRule {
  /** From 100 to 315,360,000,000 (ten years). */
  readonly everyMs: number;
  /** Fires at this instant plus multiples of `everyMs`; default 1970-01-01T00:00Z, so that nothing drifts. */
  readonly anchorAt?: EpochMs | Date;
}

/** Once. A past instant is a misfire. */
export interface AtRule {
  readonly at: EpochMs | Date;
}

/** When a function of the host says. */
export interface NextRule {
  /** Name of a function among the runtime's `calendars`, which says when the next fire is. */
  readonly next: string;
}

/**
 * When the next fire after this instant is; `undefined` ends the schedule. Called with the same argument, it
 * should give the same answer, and it may be called often.
 */
export type CalendarFunction = (after: EpochMs) => EpochMs | Date | undefined;

/** What becomes of fires that passed unserved. */
export type MisfirePolicy = 'skip' | 'latest' | 'all';
/** What becomes of a fire while the task of the last one is not final. */
export type OverlapPolicy = 'allow' | 'skip' | 'cancel';

/** What may be said of a schedule beside its rule, and of each of its tasks. */
export interface ScheduleOptions extends TaskOptions, Pick<EnqueueOptions, 'delayMs' | 'unique'> {
  /** Of fires that passed unserved by a minute or more: none is made up, the latest, or all. */
  readonly misfire?: MisfirePolicy;
  /** How far back fires are made up. */
  readonly catchUpMs?: number;
  /** The most fires that are made up at once; older ones are passed over. */
  readonly catchUpFires?: number;
  /** While the task of the last fire is not final: enqueue, skip the fire, or cancel that task. */
  readonly overlap?: OverlapPolicy;
  /** Each fire is put off by up to this, always the same for the same fire, never past the next one. */
  readonly jitterMs?: number;
  /** No fire before this instant. */
  readonly startAt?: EpochMs | Date;
  /** No fire after this instant. */
  readonly endAt?: EpochMs | Date;
  /** Ends after so many fires. */
  readonly maxRuns?: number;
}

/** {@link ScheduleRule} after the check of its values: instants are whole epoch milliseconds. */
export type CheckedRule =
  | CronRule
  | { readonly everyMs: number; readonly anchorAt?: EpochMs }
  | { readonly at: EpochMs }
  | NextRule;

/** What a schedule does about its fires, complete. */
export interface FirePlan {
  readonly misfire: MisfirePolicy;
  readonly catchUpMs: number;
  readonly catchUpFires: number;
  readonly overlap: OverlapPolicy;
  readonly jitterMs: number;
  readonly startAt?: EpochMs;
  readonly endAt?: EpochMs;
  readonly maxRuns?: number;
}

/** {@link ScheduleOptions} after their check, in two: of the schedule, and of its tasks. */
export interface CheckedScheduleOptions {
  readonly plan: FirePlan;
  readonly options: CheckedEnqueueOptions;
}
