/**
 * What one option may hold. A rule is a check together with the words for it, so that the table in
 * `table.ts`, the error a user reads and the README say the same. Knows no option by name; objects of options
 * are in `shape.ts`.
 */
import { InvalidArgumentError, InvalidNameError } from '../errors.js';

export type Unit = 'ms' | 'bytes' | 'MiB' | 'epoch ms' | 'threads' | 'tasks' | 'characters';

/** A check and its words. */
export interface Rule {
  /** As shown in the table, for example `integer`. */
  readonly type: string;
  readonly unit?: Unit;
  /** As shown in the table, for example `1 to 1,000`. */
  readonly bounds?: string;
  /** Completes "options.x must be …". */
  readonly expected: string;
  /** Set for an object of options: its rows stand below it in the table. */
  readonly fields?: Fields;
  /**
   * @param at  Where the value stands, for example `options.backoff.baseMs`.
   * @returns  The value to use, which is not the caller's to change.
   * @throws {InvalidArgumentError} {@link InvalidNameError} {@link UnknownOptionError}
   */
  check(value: unknown, at: string): unknown;
}

/** One option of the table. */
export interface Field<Default = unknown> {
  readonly rule: Rule;
  /** `undefined` is: absent by default. */
  readonly default: Default;
  /** Words for a default that only the host knows. */
  readonly shownDefault?: string;
  readonly isRequired?: true;
  /** One sentence. */
  readonly meaning: string;
}
export type Fields = Readonly<Record<string, Field>>;

/** A field for every key of `Options`: an option missing from the table does not compile. */
export type FieldsOf<Options> = { readonly [Key in keyof Options]-?: Field };

/** 128 characters at most, safe in keys, file names, URLs and terminals. */
const NAME = /^[A-Za-z0-9][\w.:-]{0,127}$/;

/**
 * Checks the name of a task, queue, codec or schedule.
 *
 * @param kind  Which of them, for the message.
 * @throws {InvalidNameError} `ERR_MILLRACE_INVALID_NAME`
 */
export function checkName(kind: string, value: unknown): string {
  if (typeof value !== 'string' || !NAME.test(value)) throw new InvalidNameError(kind, value);
  return value;
}

export interface NumberBounds {
  readonly min: number;
  readonly max: number;
  readonly unit?: Unit;
  /** Infinity is allowed too. */
  readonly orInfinity?: true;
  /** What becomes of a fraction; by default it is refused. */
  readonly fraction?: 'kept' | 'rounded up';
}

export function number(bounds: NumberBounds): Rule {
  const { min, max, unit, orInfinity = false, fraction } = bounds;
  const type = fraction === undefined ? 'integer' : 'number';
  const words = `${grouped(min)} to ${grouped(max)}${orInfinity ? ', or Infinity' : ''}`;
  const expected = `${type === 'integer' ? 'an' : 'a'} ${type} from ${words}`;
  return {
    type,
    ...(unit === undefined ? {} : { unit }),
    bounds: words,
    expected,
    check(value, at) {
      if (orInfinity && value === Infinity) return value;
      // Written so that NaN is refused.
      if (typeof value !== 'number' || !(value >= min && value <= max)) {
        throw new InvalidArgumentError(at, expected, value);
      }
      if (fraction === undefined && !Number.isInteger(value))
        throw new InvalidArgumentError(at, expected, value);
      // Adding 0 makes -0 a plain 0.
      return (fraction === 'rounded up' ? Math.ceil(value) : value) + 0;
    },
  };
}

/** Anything that `accepts` takes, unchanged. */
export function value(type: string, expected: string, accepts: (value: unknown) => boolean): Rule {
  return {
    type,
    expected,
    check(given, at) {
      if (!accepts(given)) throw new InvalidArgumentError(at, expected, given);
      return given;
    },
  };
}

export const flag: Rule = value('boolean', 'true or false', (given) => typeof given === 'boolean');

export function choice(values: readonly string[]): Rule {
  const quoted = values.map((each) => `'${each}'`);
  const expected =
    quoted.length === 1 ? quoted.join() : `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`;
  return value(quoted.join(' | '), expected, (given) => typeof given === 'string' && values.includes(given));
}

/** A name after {@link checkName}. */
export function name(kind: string): Rule {
  return { type: 'name', expected: `a ${kind} name`, check: (given) => checkName(kind, given) };
}

/** 1 to `max` characters, none of them half a surrogate pair: two such texts could become the same bytes. */
export function text(max: number): Rule {
  const expected = `a string of 1 to ${grouped(max)} well-formed characters`;
  const rule = value('string', expected, (given) => {
    return (
      typeof given === 'string' && given.length >= 1 && given.length <= max && !/\p{Surrogate}/u.test(given)
    );
  });
  return { ...rule, unit: 'characters', bounds: `1 to ${grouped(max)}` };
}

/** A frozen copy of an array of at most `max` items. */
export function list(item: Rule, max: number, min = 0): Rule {
  const expected = `an array of ${min} to ${grouped(max)} items, each ${item.expected}`;
  return {
    type: item.type.includes(' ') ? `(${item.type})[]` : `${item.type}[]`,
    bounds: `${min} to ${grouped(max)} items`,
    expected,
    check(given, at) {
      if (!Array.isArray(given) || given.length < min || given.length > max) {
        throw new InvalidArgumentError(at, expected, given);
      }
      // `Array.from` visits holes, which `map` would let pass.
      return Object.freeze(Array.from(given, (each, index) => item.check(each, `${at}[${index}]`)));
    },
  };
}

/** An option with its default. */
export function field<const Default>(rule: Rule, fallback: Default, meaning: string): Field<Default> {
  return { rule, default: Object.freeze(fallback) as Default, meaning };
}

/** An option that must be given. */
export function required(rule: Rule, meaning: string): Field<undefined> {
  return { rule, default: undefined, isRequired: true, meaning };
}

/** An option whose default the host supplies. */
export function hosted(rule: Rule, shownDefault: string, meaning: string): Field<undefined> {
  return { rule, default: undefined, shownDefault, meaning };
}

/** 1000000 as `1,000,000`. */
function grouped(count: number): string {
  const [whole = '', ...parts] = String(count).split('.');
  return [whole.replace(/\B(?=(\d{3})+$)/g, ','), ...parts].join('.');
}
