/**
 * The options that limit: one row each, with unit, bounds and meaning. A rule limits nothing that it does not
 * name, so there are few defaults.
 */
import { InvalidArgumentError } from '../errors.js';
import type { BucketRate, DefinedLimits, LaneRule, LimitRule, Quota } from '../task/limit-rule.js';
import { type FieldsOf, field, number, type Rule, required, value } from './rule.js';
import { object, plainObject, record } from './shape.js';
import type { AgeingOptions, LimitsOptions, TaskLimitsOptions } from './types.js';

const YEAR_MS = 366 * 86_400_000;
const MAX_NAMES = 10_000;
/** Keys with rules of their own, of one name. */
const MAX_KEYS = 100_000;
const MAX_KEY_CHARS = 256;
const MAX_PATH_CHARS = 256;

const BUCKET_FIELDS = {
  capacity: required(
    number({ min: 1, max: 1_000_000_000 }),
    'Tokens that it holds: what may start at once after a quiet time.',
  ),
  refillPerSec: required(
    number({ min: 0.000_001, max: 1_000_000, fraction: 'kept' }),
    'Tokens that flow in, a second.',
  ),
} satisfies FieldsOf<BucketRate>;

const QUOTA_FIELDS = {
  limit: required(number({ min: 1, max: 1_000_000_000 }), 'Starts in each window.'),
  perMs: required(
    number({ min: 1_000, max: YEAR_MS, unit: 'ms' }),
    'Length of a window; windows begin at multiples of it since 1970 in UTC.',
  ),
} satisfies FieldsOf<Quota>;

/** What limits starts, whatever they are the starts of. */
export const RULE_FIELDS = {
  tokenBucket: field(
    object(BUCKET_FIELDS, BUCKET_FIELDS),
    undefined,
    'A rate: over any time W at most `capacity + refillPerSec × W` tokens.',
  ),
  concurrency: field(
    number({ min: 1, max: 1_000_000, unit: 'tasks', orInfinity: true }),
    undefined,
    'Tasks at once.',
  ),
  quota: field(object(QUOTA_FIELDS, QUOTA_FIELDS), undefined, 'So many starts in each window of time.'),
} satisfies FieldsOf<LimitRule>;

/** Of a task name or a key. */
export const LANE_RULE_FIELDS = {
  ...RULE_FIELDS,
  weight: field(
    number({ min: 1, max: 1_000 }),
    undefined,
    'Starts for each start of a lane of weight 1, which it is by default; of names and keys.',
  ),
} satisfies FieldsOf<LaneRule>;

const PATH = `member names joined by dots, for example tenant.id, of at most ${MAX_PATH_CHARS} characters`;
const path = value('path', PATH, (given) => {
  return (
    typeof given === 'string' &&
    given.length <= MAX_PATH_CHARS &&
    given.split('.').every((member) => member !== '')
  );
});

const limitKey = field(
  path,
  undefined,
  'Where in the payload the key is that limits hold for; each key takes turns with the others.',
);

/** What a definition takes beside the options of a task. */
export const DEFINITION_FIELDS = { limitKey, ...RULE_FIELDS } satisfies FieldsOf<DefinedLimits>;

/** Rules of which the rows are listed once, for task names. */
const { fields: _fields, ...bareRule } = { ...object(RULE_FIELDS), type: 'rule' };

/** What may be set for a name while running. */
export const NAME_RULE_FIELDS = {
  ...LANE_RULE_FIELDS,
  limitKey,
  total: field(bareRule, undefined, 'Holds for the name as a whole, beside what holds for each key.'),
} satisfies FieldsOf<Omit<TaskLimitsOptions, 'keys'>>;

/** Keys are any text, so that they may be what payloads say. */
const keys: Rule = {
  type: 'Record<key, rule>',
  expected: `a plain object of at most 100,000 keys`,
  check(given, at) {
    const rules = plainObject(given, at);
    const names = Object.keys(rules).filter((key) => rules[key] !== undefined);
    if (names.length > MAX_KEYS) throw new InvalidArgumentError(at, keys.expected);
    return new Map(names.map((key) => [checkLimitKey(key, at), laneRule.check(rules[key], `${at}.${key}`)]));
  },
};
const laneRule = object(LANE_RULE_FIELDS);

export const TASK_LIMITS_FIELDS = {
  ...NAME_RULE_FIELDS,
  keys: field(keys, new Map(), 'Rules of single keys, over those of the name.'),
} satisfies FieldsOf<TaskLimitsOptions>;

export const LIMITS_FIELDS = {
  perRuntime: field(bareRule, undefined, 'All tasks together.'),
  queues: field(record('queue', bareRule, MAX_NAMES), new Map(), 'The tasks of a queue together.'),
  tasks: field(
    {
      ...record('task', object(TASK_LIMITS_FIELDS, TASK_LIMITS_FIELDS), MAX_NAMES),
      type: 'Record<task, rule>',
    },
    new Map(),
    'The tasks of a name: each key by itself, over what the definition says.',
  ),
} satisfies FieldsOf<LimitsOptions>;

export const AGEING_FIELDS = {
  afterStarts: required(
    number({ min: 1, max: 1_000_000, unit: 'tasks' }),
    'After so many starts that passed over a level which has tasks, its best one goes first.',
  ),
} satisfies FieldsOf<AgeingOptions>;

/**
 * A key as text, at most 256 well-formed characters: half a surrogate pair would become the same bytes as
 * another one.
 *
 * @throws {InvalidArgumentError} `ERR_MILLRACE_INVALID_ARGUMENT`, which does not show it.
 */
export function checkLimitKey(key: unknown, at: string): string {
  if (typeof key !== 'string' || key.length > MAX_KEY_CHARS || /\p{Surrogate}/u.test(key)) {
    throw new InvalidArgumentError(at, `a key: a string of at most ${MAX_KEY_CHARS} well-formed characters`);
  }
  return key;
}
