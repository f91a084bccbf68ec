/**
 * The edge at which a schedule is checked: by whoever asks, so that a mistake is refused at once, and by the
 * owner, who believes nothing. Reads cron expressions, so it is loaded when the first schedule is met.
 */

import type { CheckedRule, FirePlan } from '../options/schedule-types.js';
import type { CheckedEnqueueOptions } from '../options/types.js';
import { checkName, validateRule, validateScheduleOptions } from '../options.js';
import { type Calendars, checkCalendar, occurrencesOf } from '../schedule/occurrences.js';

export interface CheckedSchedule {
  readonly id: string;
  readonly rule: CheckedRule;
  readonly plan: FirePlan;
  /** Of its tasks. */
  readonly options: CheckedEnqueueOptions;
}

const NONE: Calendars = new Map();

/**
 * @param calendars  Of the runtime that is to fire; absent where they are not known.
 * @throws {InvalidNameError} {@link UnknownOptionError} {@link InvalidArgumentError} that names the field,
 *   for example `schedule.cron`.
 */
export function checkSchedule(
  given: { readonly id: unknown; readonly rule: unknown; readonly options: unknown },
  calendars?: Calendars,
): CheckedSchedule {
  const id = checkName('schedule', given.id);
  const rule = validateRule(given.rule, 'schedule');
  const { plan, options } = validateScheduleOptions(given.options, 'options');
  occurrencesOf(rule, id, calendars ?? NONE);
  if (calendars !== undefined) checkCalendar(rule, calendars);
  return { id, rule, plan, options };
}
