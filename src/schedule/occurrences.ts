/**
 * When a rule fires, one instant after the other. Nothing is decided here: whether a fire is enqueued, made
 * up or passed over is the business of `decide.ts`.
 */
import type { EpochMs } from '../clock.js';
import { InvalidArgumentError } from '../errors.js';
import type { CalendarFunction, CheckedRule } from '../options/schedule-types.js';
import { parseCron } from './cron.js';
import { nextInZone } from './cron-in-zone.js';
import { zoneOf } from './zone.js';

/** The fires of one schedule. */
export interface Occurrences {
  /**
   * The first fire strictly after this instant; `undefined` when none follows.
   * @throws {RuleFault}
   */
  after(instant: EpochMs): EpochMs | undefined;
}

/** Functions of the host, by the names that rules give. */
export type Calendars = ReadonlyMap<string, CalendarFunction>;

/**
 * A rule cannot say when it fires: a function of the host threw or gave no sound answer, or what was stored
 * is not known to this version of Node any more. The schedule waits, nothing else is hurt.
 */
export class RuleFault extends Error {}

/** Instants are whole milliseconds up to the end of the year 9999. */
const LAST_INSTANT = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/**
 * The fires of a rule.
 *
 * @param id  The schedule's: what `H` in an expression follows from.
 * @throws {InvalidArgumentError} `ERR_MILLRACE_INVALID_ARGUMENT` for an expression or a zone that is not
 *   sound; the field is named, for example `schedule.cron`.
 */
export function occurrencesOf(rule: CheckedRule, id: string, calendars: Calendars): Occurrences {
  if ('cron' in rule) {
    const cron = parseCron(rule.cron, id);
    const zone = zoneOf(rule.timeZone);
    return { after: (instant) => within(nextInZone(cron, zone, instant)) };
  }
  if ('everyMs' in rule) {
    const { everyMs, anchorAt = 0 } = rule;
    return {
      after: (instant) => within(anchorAt + (Math.floor((instant - anchorAt) / everyMs) + 1) * everyMs),
    };
  }
  if ('at' in rule) return { after: (instant) => (rule.at > instant ? rule.at : undefined) };
  return { after: (instant) => askCalendar(calendars, rule.next, instant) };
}

/** The fires of a rule that was taken before; when it is not sound any more, to ask for one is a fault. */
export function storedOccurrences(rule: CheckedRule, id: string, calendars: Calendars): Occurrences {
  try {
    return occurrencesOf(rule, id, calendars);
  } catch (cause) {
    const fault = new RuleFault((cause as Error).message, { cause });
    return {
      after() {
        throw fault;
      },
    };
  }
}

/** @throws {InvalidArgumentError} when this runtime has no such function. */
export function checkCalendar(rule: CheckedRule, calendars: Calendars): void {
  if (!('next' in rule) || calendars.has(rule.next)) return;
  throw new InvalidArgumentError('schedule.next', 'the name of a function in options.calendars', rule.next);
}

function within(instant: EpochMs | undefined): EpochMs | undefined {
  return instant === undefined || instant > LAST_INSTANT ? undefined : instant;
}

function askCalendar(calendars: Calendars, name: string, after: EpochMs): EpochMs | undefined {
  const calendar = calendars.get(name);
  if (calendar === undefined) throw new RuleFault(`this runtime has no calendar "${name}"`);
  let answer: unknown;
  try {
    answer = calendar(after);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : 'what it threw is no error';
    throw new RuleFault(`calendar "${name}" threw: ${message}`, { cause });
  }
  if (answer === undefined) return undefined;
  const instant = answer instanceof Date ? answer.getTime() : answer;
  if (typeof instant !== 'number' || !(instant > after && instant <= LAST_INSTANT)) {
    throw new RuleFault(
      `calendar "${name}" must answer with an instant after ${new Date(after).toISOString()}, or undefined`,
    );
  }
  return Math.ceil(instant);
}
