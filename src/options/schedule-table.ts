/**
 * The options of schedules: of their rules, and of what they do about their fires. Whether a cron expression,
 * a zone or a calendar is sound is checked where they are read, in `src/schedule`.
 */
import { InvalidArgumentError } from '../errors.js';
import { choice, type FieldsOf, field, name, number, text } from './rule.js';
import type { CronRule, EveryRule, FirePlan, NextRule } from './schedule-types.js';
import { checkObject } from './shape.js';
import { ENQUEUE_FIELDS, instant, MAX_DURATION_MS, TASK_FIELDS } from './task-table.js';

const DAY_MS = 86_400_000;

/** What a rule may say; exactly one of `cron`, `everyMs`, `at` and `next`. */
export const RULE_FIELDS = {
  cron: field(text(256), undefined, 'Five fields, or six with seconds in front, or a name like `@daily`.'),
  timeZone: field(text(64), undefined, 'IANA zone of `cron`; by default UTC.'),
  everyMs: field(
    number({ min: 100, max: MAX_DURATION_MS, unit: 'ms' }),
    undefined,
    'Fires at `anchorAt` and multiples of this before and after it.',
  ),
  anchorAt: field(instant, undefined, 'By default 1970-01-01T00:00Z.'),
  at: field(instant, undefined, 'Fires once; a past instant is a misfire.'),
  next: field(name('calendar'), undefined, 'Asks this one of `calendars` when to fire.'),
} satisfies FieldsOf<CronRule & EveryRule & { at: number } & NextRule>;

/** What a schedule takes beside the options of its tasks. */
export const SCHEDULE_FIELDS = {
  misfire: field(
    choice(['skip', 'latest', 'all']),
    'latest',
    'Of fires that passed unserved by a minute or more: none is made up, the latest, or all.',
  ),
  catchUpMs: field(
    number({ min: 0, max: MAX_DURATION_MS, unit: 'ms' }),
    7 * DAY_MS,
    'How far back fires are made up.',
  ),
  catchUpFires: field(
    number({ min: 1, max: 1_000 }),
    100,
    'Fires made up at once, of `all`; older ones are passed over.',
  ),
  overlap: field(
    choice(['allow', 'skip', 'cancel']),
    'allow',
    'While the task of the last fire is not final: enqueue, skip the fire, or cancel that task.',
  ),
  jitterMs: field(
    number({ min: 0, max: DAY_MS, unit: 'ms' }),
    0,
    'Each fire is put off by up to this, never past the next one.',
  ),
  startAt: field(instant, undefined, 'No fire before this instant.'),
  endAt: field(instant, undefined, 'No fire after this instant.'),
  maxRuns: field(
    number({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    undefined,
    'Ends the schedule after so many fires.',
  ),
} satisfies FieldsOf<FirePlan>;

/** Of those of one enqueue, the ones that make sense at each fire. */
const { delayMs, unique } = ENQUEUE_FIELDS;
const ALL_FIELDS = { ...TASK_FIELDS, delayMs, unique, ...SCHEDULE_FIELDS };
const KINDS = ['cron', 'everyMs', 'at', 'next'] as const;
/** What belongs to one kind of rule only. */
const BELONGS = [
  ['timeZone', 'cron'],
  ['anchorAt', 'everyMs'],
] as const;

/** @throws {InvalidArgumentError} {@link UnknownOptionError} {@link InvalidNameError} */
export function checkRuleObject(rule: unknown, at: string): Readonly<Record<string, unknown>> {
  const checked = checkObject(RULE_FIELDS, rule, at);
  const kinds = KINDS.filter((kind) => checked[kind] !== undefined);
  if (kinds.length !== 1) {
    throw new InvalidArgumentError(at, 'an object with one of cron, everyMs, at and next', rule);
  }
  for (const [key, kind] of BELONGS) {
    if (checked[key] !== undefined && kinds[0] !== kind) {
      throw new InvalidArgumentError(`${at}.${key}`, `absent where ${kinds[0]} is given`);
    }
  }
  return checked;
}

/**
 * The options of a schedule and of its tasks, together; those of the schedule complete.
 * @throws {InvalidArgumentError} {@link UnknownOptionError} {@link InvalidNameError}
 */
export function checkScheduleObject(options: unknown, at: string): Readonly<Record<string, unknown>> {
  const checked = checkObject(ALL_FIELDS, options, at, SCHEDULE_FIELDS);
  const { startAt, endAt, unique } = checked as Partial<FirePlan> & {
    readonly unique?: { readonly onConflict?: string };
  };
  if (startAt !== undefined && endAt !== undefined && endAt < startAt) {
    throw new InvalidArgumentError(`${at}.endAt`, `at or after startAt (${startAt})`, endAt);
  }
  if (unique?.onConflict === 'reject') {
    throw new InvalidArgumentError(`${at}.unique.onConflict`, "'keep' or 'replace' for a schedule", 'reject');
  }
  return checked;
}
