/**
 * Cron expressions on a calendar without zone: a local time is the number of milliseconds that the same clock
 * face has in UTC. Which instants a local time stands for is the business of `occurrences.ts`.
 *
 * Reads with cron-parser, always in UTC: its own zones skip days where the clocks change by half an hour.
 * What it lets pass and nobody means is refused here: no expression at all, four fields, expressions longer
 * than any sound one, those that never fire.
 */
import { type CronExpression, CronExpressionParser } from 'cron-parser';
import { InvalidArgumentError } from '../errors.js';

/** Milliseconds of a clock face, as if it stood in UTC. */
export type LocalMs = number;

/** Parts of a clock face that a change of the clocks can skip or repeat. */
export type CronField = 'second' | 'minute' | 'hour' | 'day';

export interface Cron {
  /** The first local time strictly after this one at which it fires; `undefined` when there is none. */
  after(local: LocalMs): LocalMs | undefined;
  /** Whether the field runs through its values (`*`, steps), or names fixed ones. */
  isInterval(field: CronField): boolean;
}

const MAX_CHARS = 256;
const NAMES: Readonly<Record<string, string>> = {
  '@yearly': '0 0 0 1 1 *',
  '@annually': '0 0 0 1 1 *',
  '@monthly': '0 0 0 1 * *',
  '@weekly': '0 0 0 * * 0',
  '@daily': '0 0 0 * * *',
  '@midnight': '0 0 0 * * *',
  '@hourly': '0 0 * * * *',
  '@minutely': '0 * * * * *',
};
const FORM =
  'five or six fields ([second] minute hour day-of-month month day-of-week), for example "0 9 * * 1-5"';
/** How many values each field has: naming all of them is the same as `*`. */
const ALL: readonly [CronField, at: number, values: number][] = [
  ['second', 0, 60],
  ['minute', 1, 60],
  ['hour', 2, 24],
];
/** Parsed expressions are kept for the next fire, up to so many. */
const MAX_KEPT = 1_000;
const kept = new Map<string, Cron>();
/** A look asks for the same fires several times, and a rare one takes cron-parser some 20 ms. */
const KEPT_ANSWERS = 8;

/**
 * Reads an expression.
 *
 * @param seed  What `H` follows from: the id of the schedule, so that it is the same for ever.
 * @param at  Where it stands, for messages.
 * @throws {InvalidArgumentError} `ERR_MILLRACE_INVALID_ARGUMENT`
 */
export function parseCron(expression: unknown, seed: string, at = 'schedule.cron'): Cron {
  if (typeof expression !== 'string' || expression.length > MAX_CHARS) {
    throw new InvalidArgumentError(at, `a string of at most ${MAX_CHARS} characters: ${FORM}`, expression);
  }
  const key = expression.includes('H') ? `${expression}\0${seed}` : expression;
  let cron = kept.get(key);
  if (cron === undefined) {
    cron = new ParsedCron(expression, seed, at);
    if (kept.size >= MAX_KEPT) kept.clear();
    kept.set(key, cron);
  }
  return cron;
}

class ParsedCron implements Cron {
  readonly #expression: CronExpression;
  readonly #intervals: ReadonlySet<CronField>;
  readonly #answers: { readonly from: LocalMs; readonly next: LocalMs }[] = [];
  #asked = 0;

  constructor(text: string, seed: string, at: string) {
    const fields = (Object.hasOwn(NAMES, text.trim()) ? NAMES[text.trim()]! : text).trim().split(/[ \t]+/);
    if (fields.length !== 5 && fields.length !== 6) throw new InvalidArgumentError(at, FORM, text);
    if (fields.length === 5) fields.unshift('0');
    try {
      this.#expression = CronExpressionParser.parse(fields.join(' '), {
        tz: 'UTC',
        hashSeed: seed,
        currentDate: 0,
      });
    } catch (cause) {
      throw new InvalidArgumentError(at, `${FORM} (${(cause as Error).message})`, text, { cause });
    }
    this.#intervals = this.#findIntervals(fields);
    if (this.after(0) === undefined) throw new InvalidArgumentError(at, 'an expression that fires', text);
  }

  after(local: LocalMs): LocalMs | undefined {
    const known = this.#answers.find(({ from, next }) => from <= local && local < next);
    if (known !== undefined) return known.next;
    const next = this.#ask(local);
    if (next !== undefined) this.#answers[this.#asked++ % KEPT_ANSWERS] = { from: local, next };
    return next;
  }

  #ask(local: LocalMs): LocalMs | undefined {
    this.#expression.reset(new Date(local));
    try {
      return this.#expression.next().getTime();
    } catch {
      // It looks some decades ahead and then gives up.
      return undefined;
    }
  }

  isInterval(field: CronField): boolean {
    return this.#intervals.has(field);
  }

  #findIntervals(texts: readonly string[]): ReadonlySet<CronField> {
    const intervals = new Set<CronField>();
    const { fields } = this.#expression;
    for (const [field, at, values] of ALL) {
      const hasAll = fields[field as 'second' | 'minute' | 'hour'].values.length === values;
      if (hasAll || runsThrough(texts[at]!)) intervals.add(field);
    }
    if (runsThrough(texts[3]!) && runsThrough(texts[5]!)) intervals.add('day');
    return intervals;
  }
}

function runsThrough(text: string): boolean {
  return /[*?/]/.test(text);
}
