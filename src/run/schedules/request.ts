/**
 * The edge at which a schedule is checked: by whoever asks, so that a mistake is refused at once, and by the
 * owner, who believes nothing.
 */
import type { CheckedRule, FirePlan } from '../../options/schedule-types.js';
import type { CheckedEnqueueOptions } from '../../options/types.js';
import { checkName, validateRule, validateScheduleOptions } from '../../options.js';
import type { Calendars } from '../../schedule/occurrences.js';

export interface CheckedSchedule {
  readonly id: string;
  readonly rule: CheckedRule;
  readonly plan: FirePlan;
  /** Of its tasks. */
  readonly options: CheckedEnqueueOptions;
}

const NONE: Calendars = new Map();

/**
 * At once, and copied: what the caller does to its objects later changes nothing.
 * @throws {InvalidNameError} {@link UnknownOptionError} {@link InvalidArgumentError} that names the field,
 *   for example `schedule.everyMs`.
 */
export function checkSchedule(given: {
  readonly id: unknown;
  readonly rule: unknown;
  readonly options: unknown;
}): CheckedSchedule {
  const id = checkName('schedule', given.id);
  const rule = validateRule(given.rule, 'schedule');
  return { id, rule, ...validateScheduleOptions(given.options, 'options') };
}

/**
 * Whether the rule can be followed. Reads cron expressions: what does is loaded with the first schedule.
 * @param calendars  Of the runtime that is to fire; absent where they are not known.
 * @throws (rejects) {InvalidArgumentError} that names the field, for example `schedule.cron`.
 */
export async function checkRule({ id, rule }: CheckedSchedule, calendars?: Calendars): Promise<void> {
  const { checkCalendar, occurrencesOf } = await import('../../schedule/occurrences.js');
  occurrencesOf(rule, id, calendars ?? NONE);
  if (calendars !== undefined) checkCalendar(rule, calendars);
}
