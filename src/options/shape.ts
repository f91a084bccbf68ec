/**
 * Objects of options: only plain ones, only known keys, each value by its rule. The copy is new and frozen,
 * so that nothing the caller does to the original later changes a task. An unknown key is an error that names
 * the right one.
 */
import { InvalidArgumentError, UnknownOptionError } from '../errors.js';
import { checkName, type Fields, type Rule } from './rule.js';

/** What other task libraries call it, where spelling alone would not lead to our name. */
const FOREIGN_NAMES: ReadonlyMap<string, string> = new Map([
  ['retries', 'maxAttempts'],
  ['retry', 'maxAttempts'],
  ['retrylimit', 'maxAttempts'],
  ['expires', 'staleAt'],
  ['ttl', 'staleAt'],
  ['jobkey', 'unique'],
  ['singletonkey', 'unique'],
  ['deduplication', 'unique'],
  ['removeoncomplete', 'retentionMs'],
  ['workers', 'threads'],
  ['tz', 'timeZone'],
  ['pattern', 'cron'],
  ['every', 'everyMs'],
]);

/** Longer than any option; a longer key is not a misspelling of one. */
const MAX_KEY_CHARS = 40;

const NO_FIELDS: Fields = {};

/**
 * A frozen copy of `value` after its fields' rules.
 *
 * @param at    Where the object stands, for messages.
 * @param fill  Fields whose defaults are put in where absent; by default none.
 * @throws {InvalidArgumentError} {@link UnknownOptionError} {@link InvalidNameError}
 */
export function checkObject(
  fields: Fields,
  value: unknown,
  at: string,
  fill: Fields = NO_FIELDS,
): Readonly<Record<string, unknown>> {
  const given = plainObject(value, at);
  const checked: Record<string, unknown> = {};
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(fields, key)) throw unknownOption(fields, key, at);
    const option = given[key];
    if (option !== undefined) checked[key] = fields[key]!.rule.check(option, `${at}.${key}`);
  }
  for (const key in fill) {
    const { rule, isRequired, default: fallback } = fill[key]!;
    if (checked[key] !== undefined) continue;
    if (isRequired) throw new InvalidArgumentError(`${at}.${key}`, `given: ${rule.expected}`);
    if (fallback !== undefined) checked[key] = fallback;
  }
  return Object.freeze(checked);
}

/** A rule for an object of options; `fill` as in {@link checkObject}. */
export function object(fields: Fields, fill?: Fields): Rule {
  return {
    type: 'object',
    expected: 'a plain object',
    fields,
    check: (value, at) => checkObject(fields, value, at, fill),
  };
}

/** A rule for an object whose keys are names; becomes a Map, so that no name meets a prototype. */
export function record(kind: string, item: Rule, max: number): Rule {
  const expected = `a plain object of at most ${max} entries`;
  return {
    type: `Record<${kind}, ${item.type}>`,
    expected,
    check(value, at) {
      const given = plainObject(value, at);
      const keys = Object.keys(given);
      if (keys.length > max) throw new InvalidArgumentError(at, expected);
      const present = keys.filter((key) => given[key] !== undefined);
      return new Map(present.map((key) => [checkName(kind, key), item.check(given[key], `${at}.${key}`)]));
    },
  };
}

/**
 * The value as an object with no prototype but `Object.prototype`: `{ __proto__: … }` and class instances
 * could carry options that no copy and no eye would find.
 *
 * @throws {InvalidArgumentError} `ERR_MILLRACE_INVALID_ARGUMENT`
 */
export function plainObject(value: unknown, at: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null) {
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) return value as Record<string, unknown>;
  }
  throw new InvalidArgumentError(at, 'a plain object', value);
}

function unknownOption(fields: Fields, key: string, at: string): UnknownOptionError {
  const known = Object.keys(fields);
  return new UnknownOptionError(`${at}.${key}`, nearestOption(key, known), known);
}

/** The option meant by `key`: another library's name for it, else at most a third away in spelling. */
export function nearestOption(key: string, known: readonly string[]): string | undefined {
  if (key.length > MAX_KEY_CHARS) return undefined;
  const lowered = key.toLowerCase();
  const foreign = FOREIGN_NAMES.get(lowered);
  if (foreign !== undefined && known.includes(foreign)) return foreign;
  let nearest: string | undefined;
  let least = Infinity;
  for (const option of known) {
    const distance = editDistance(lowered, option.toLowerCase());
    if (distance < least && distance <= Math.max(key.length, option.length) / 3) {
      nearest = option;
      least = distance;
    }
  }
  return nearest;
}

/**
 * Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other.
 *
 * @source  "Optimal string alignment distance": Boytsov, "Indexing Methods for Approximate Dictionary
 * Searching", 2011.
 */
function editDistance(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const differs = from[row - 1] === to[column - 1] ? 0 : 1;
      let least = Math.min(last[column]! + 1, current[column - 1]! + 1, last[column - 1]! + differs);
      const isSwap =
        row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (isSwap) least = Math.min(least, beforeLast[column - 2]! + 1);
      current.push(least);
    }
    beforeLast = last;
    last = current;
  }
  return last[to.length]!;
}
