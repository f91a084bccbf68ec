/** Rules that are often wanted, in words. They make rules like any other; they schedule nothing. */
import { InvalidArgumentError } from '../errors.js';
import type { CronRule, EveryRule } from '../options/schedule-types.js';

/** A day of the week, as `weekly` takes it. */
export type Weekday = 'mon' | 'tue' | 'wed' | 'thu' | 'fri' | 'sat' | 'sun';
const WEEKDAYS: readonly unknown[] = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] satisfies Weekday[];
const MAX_MINUTES = 5_256_000;

/**
 * Every so many minutes, counted from 1970-01-01T00:00Z: `everyMinutes(15)` fires at :00, :15, :30, :45.
 * @param minutes  1 to 5,256,000 (ten years).
 * @throws {InvalidArgumentError} `ERR_MILLRACE_INVALID_ARGUMENT`
 */
export function everyMinutes(minutes: number): EveryRule {
  if (!Number.isInteger(minutes) || minutes < 1 || minutes > MAX_MINUTES) {
    throw new InvalidArgumentError('minutes', `an integer from 1 to ${MAX_MINUTES}`, minutes);
  }
  return { everyMs: minutes * 60_000 };
}

/**
 * Every day at this time.
 * @param time  `'09:00'`, or `'23:59:30'` with seconds.
 * @param timeZone  Default UTC.
 * @throws {InvalidArgumentError} `ERR_MILLRACE_INVALID_ARGUMENT`
 */
export function daily(time: string, timeZone?: string): CronRule {
  return ruleOf(`${cronTime(time)} * * *`, timeZone);
}

/**
 * Every week on this day at this time.
 * @throws {InvalidArgumentError} `ERR_MILLRACE_INVALID_ARGUMENT`
 */
export function weekly(day: Weekday, time: string, timeZone?: string): CronRule {
  if (!WEEKDAYS.includes(day)) {
    throw new InvalidArgumentError('day', `one of ${WEEKDAYS.join(', ')}`, day);
  }
  return ruleOf(`${cronTime(time)} * * ${day}`, timeZone);
}

function ruleOf(cron: string, timeZone: string | undefined): CronRule {
  return timeZone === undefined ? { cron } : { cron, timeZone };
}

function cronTime(time: string): string {
  const found = /^([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?$/.exec(typeof time === 'string' ? time : '');
  if (found === null) throw new InvalidArgumentError('time', 'a time from "00:00" to "23:59:59"', time);
  const [, hour, minute, second] = found;
  const fields = `${Number(minute)} ${Number(hour)}`;
  return second === undefined ? fields : `${Number(second)} ${fields}`;
}
