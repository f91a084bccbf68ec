/** Cron expressions without a zone: what is read, what is refused, and how long that takes. */
import { CronExpressionParser } from 'cron-parser';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCron } from '#src/schedule/cron.js';
import { nextInZone } from '#src/schedule/cron-in-zone.js';
import { occurrencesOf } from '#src/schedule/occurrences.js';
import { daily, everyMinutes, weekly } from '#src/schedule/rules.js';
import { zoneOf } from '#src/schedule/zone.js';

/** A clock face as a number, and back. */
const local = (text: string): number => Date.parse(`${text}Z`);
const face = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString().slice(0, 19);

const FIRES: readonly [expression: string, after: string, next: string][] = [
  ['* * * * *', '2026-01-01T00:00:00', '2026-01-01T00:01:00'],
  ['* * * * *', '2026-01-01T00:00:59.999', '2026-01-01T00:01:00'],
  ['*/10 * * * * *', '2026-01-01T00:00:01', '2026-01-01T00:00:10'],
  ['0 9 * * 1-5', '2026-01-02T09:00:00', '2026-01-05T09:00:00'],
  ['0 9 * * MON-FRI', '2026-01-02T08:59:59', '2026-01-02T09:00:00'],
  ['0 0 29 2 *', '2096-03-01T00:00:00', '2104-02-29T00:00:00'],
  ['0 0 L * *', '2026-02-01T00:00:00', '2026-02-28T00:00:00'],
  ['0 0 * * 5L', '2026-01-01T00:00:00', '2026-01-30T00:00:00'],
  ['0 0 * * 1#2', '2026-01-01T00:00:00', '2026-01-12T00:00:00'],
  ['0 0 13 * 5', '2026-02-01T00:00:00', '2026-02-06T00:00:00'],
  ['  0   0\t1 1 *  ', '2026-01-01T00:00:00', '2027-01-01T00:00:00'],
  ['@hourly', '2026-01-01T00:00:00', '2026-01-01T01:00:00'],
  ['@midnight', '2026-01-01T00:00:00', '2026-01-02T00:00:00'],
];

const REFUSED: readonly [what: string, expression: unknown][] = [
  ['no expression', ''],
  ['blanks', '     '],
  ['one field', '*'],
  ['four fields', '* * * *'],
  ['seven fields', '0 0 0 1 1 * 2026'],
  ['a number', 5],
  ['nothing', undefined],
  ['more than 256 characters', `${'0,'.repeat(130)}0 * * * *`],
  ['ten megabytes', '* '.repeat(5_000_000)],
  ['the nearest weekday, which is not supported', '0 0 15W * *'],
  ['a name that nobody knows', '@reboot'],
  ['a name of JavaScript', 'toString'],
  ['the 30th of February', '0 0 30 2 *'],
  ['the 31st of months with 30 days', '0 0 31 4,6,9,11 *'],
  ['a step of nothing', '*/0 * * * *'],
  ['a minute 60', '60 * * * *'],
  ['a range beyond the field', '1-1000000 * * * *'],
  ['a range backwards', '5-1 * * * *'],
  ['the sixth Monday', '0 0 * * 1#6'],
  ['letters', 'a b c d e'],
  ['fractions', '1.5 * * * *'],
  ['a line break', '0\n0 * * *'],
  ['a random step of nothing', 'H/0 * * * *'],
];

describe('a cron expression', () => {
  for (const [expression, after, next] of FIRES) {
    it(`${expression} after ${after} fires at ${next}`, () => {
      expect(face(parseCron(expression, 'id').after(local(after)))).toBe(next);
    });
  }

  it('says the same whatever was asked of it before', () => {
    const instant = fc.oneof(
      fc.integer({ min: local('2026-01-01'), max: local('2026-01-03') }),
      fc.integer({ min: 0, max: local('2090-01-01') }),
    );
    const some = fc.constantFrom('*/7 3 * * *', '30 0 9 * * 1-5', '0 0 29 2 *', '0 0 * * 5L', '* * * * *');
    const property = fc.property(some, fc.array(instant, { maxLength: 20 }), (expression, instants) => {
      for (const after of instants) {
        const seconds = expression.split(' ').length === 5 ? `0 ${expression}` : expression;
        const alone = CronExpressionParser.parse(seconds, { tz: 'UTC', currentDate: new Date(after) });
        expect(parseCron(expression, 'id').after(after)).toBe(alone.next().getTime());
      }
    });
    fc.assert(property, { numRuns: 50 });
  });

  it.each(REFUSED)('is refused: %s', (_what, expression) => {
    const error = refusalOf(() => parseCron(expression, 'id'));
    expect(error).toMatchObject({ code: 'ERR_MILLRACE_INVALID_ARGUMENT', argument: 'schedule.cron' });
    expect(error.message).toContain('schedule.cron must be ');
    expect(error.message.length).toBeLessThan(500);
  });

  it('has an H that follows from the id of the schedule, and from nothing else', () => {
    const first = (id: string) => parseCron('H H * * *', id).after(0);
    expect(first('a')).toBe(first('a'));
    expect(new Set(['a', 'b', 'c', 'd', 'e', 'f'].map(first)).size).toBeGreaterThan(3);
  });

  it('is read and followed in about a tenth of a millisecond, whatever it says', () => {
    const sound = FIRES.map(([expression]) => expression);
    const refused = REFUSED.map(([, expression]) => expression);
    for (const expression of [...sound, ...refused]) {
      const times = Array.from({ length: 5 }, (_, round) => {
        const begin = performance.now();
        try {
          parseCron(expression, `H${round}`).after(local('2026-01-01T00:00:00'));
        } catch {
          // Refused in the same time.
        }
        return performance.now() - begin;
      });
      // The best of five: other processes are at work as well.
      expect(Math.min(...times), String(expression).slice(0, 40)).toBeLessThan(5);
    }
  });
});

describe('a zone', () => {
  it.each(['Mars/Olympus', '', '+01:00', 'x'.repeat(65), 5, null, 'Europe/Berlin\0'])(
    'that is no zone is refused: %s',
    (name) => {
      expect(refusalOf(() => zoneOf(name))).toMatchObject({
        code: 'ERR_MILLRACE_INVALID_ARGUMENT',
        argument: 'schedule.timeZone',
      });
    },
  );

  it('has its own clocks, to the second in the past', () => {
    expect(zoneOf('Asia/Kathmandu').offsetAt(local('2026-01-01T00:00:00'))).toBe(20_700_000);
    expect(zoneOf('Africa/Monrovia').offsetAt(local('1938-01-01T00:00:00'))).toBe(-2_670_000);
    expect(zoneOf(undefined).offsetAt(0)).toBe(0);
  });
});

const IN_ZONES: readonly [what: string, zone: string, cron: string, after: string, fires: string[]][] = [
  [
    'a fixed time in a gap fires at its end',
    'Europe/Berlin',
    '30 2 * * *',
    '2026-03-28T02:00Z',
    ['2026-03-29T01:00Z', '2026-03-30T00:30Z'],
  ],
  [
    'several fixed times in a gap fire once',
    'Europe/Berlin',
    '0,20,40 2 * * *',
    '2026-03-28T23:00Z',
    ['2026-03-29T01:00Z', '2026-03-30T00:00Z'],
  ],
  [
    'a fixed time in an overlap fires the first time',
    'Europe/Berlin',
    '30 2 * * *',
    '2026-10-24T12:00Z',
    ['2026-10-25T00:30Z', '2026-10-26T01:30Z'],
  ],
  [
    'every half hour goes on through an overlap',
    'Europe/Berlin',
    '*/30 * * * *',
    '2026-10-25T00:00Z',
    ['2026-10-25T00:30Z', '2026-10-25T01:00Z', '2026-10-25T01:30Z', '2026-10-25T02:00Z'],
  ],
  [
    'every hour goes on over a gap',
    'Europe/Berlin',
    '15 * * * *',
    '2026-03-28T23:20Z',
    ['2026-03-29T00:15Z', '2026-03-29T01:15Z'],
  ],
  [
    'a gap of half an hour moves minutes',
    'Australia/Lord_Howe',
    '15 2 * * *',
    '2026-10-03T00:00Z',
    ['2026-10-03T15:30Z', '2026-10-04T15:15Z'],
  ],
  [
    'every ten minutes goes on over a gap of half an hour',
    'Australia/Lord_Howe',
    '*/10 2 * * *',
    '2026-10-03T15:00Z',
    ['2026-10-03T15:30Z', '2026-10-03T15:40Z', '2026-10-03T15:50Z', '2026-10-04T15:00Z'],
  ],
  [
    'a midnight that is skipped fires at the first instant of its day',
    'Africa/Cairo',
    '0 0 * * *',
    '2026-04-22T22:00Z',
    ['2026-04-23T22:00Z', '2026-04-24T21:00Z'],
  ],
  [
    'a day that was skipped is not made up by what fires each day',
    'Pacific/Apia',
    '0 9 * * *',
    '2011-12-28T20:00Z',
    ['2011-12-29T19:00Z', '2011-12-30T19:00Z'],
  ],
  [
    'a fixed day that was skipped fires at its end',
    'Pacific/Apia',
    '0 9 30 12 *',
    '2011-12-28T20:00Z',
    ['2011-12-30T10:00Z', '2012-12-29T19:00Z'],
  ],
  [
    'a leap day is found over many changes',
    'Europe/Berlin',
    '0 9 29 2 *',
    '2096-03-01T00:00Z',
    ['2104-02-29T08:00Z'],
  ],
];

describe('cron in a zone', () => {
  it.each(IN_ZONES)('%s (%s %s)', (_what, zone, cron, after, fires) => {
    const { after: next } = occurrencesOf({ cron, timeZone: zone }, 'id', new Map());
    let at = Date.parse(after);
    const found = fires.map(() => {
      at = next(at)!;
      return new Date(at).toISOString().replace(/:00\.000Z$/, 'Z');
    });
    expect(found).toEqual(fires);
  });

  it('does not fire a fixed time again in the second of two equal hours', () => {
    const second = Date.parse('2026-10-25T01:10Z');
    expect(nextInZone(parseCron('30 2 * * *', 'id'), zoneOf('Europe/Berlin'), second)).toBe(
      Date.parse('2026-10-26T01:30Z'),
    );
  });
});

describe('a rule in words', () => {
  it('says what it means', () => {
    expect(everyMinutes(15)).toEqual({ everyMs: 900_000 });
    expect(daily('09:00')).toEqual({ cron: '0 9 * * *' });
    expect(daily('23:59:30', 'Europe/Berlin')).toEqual({
      cron: '30 59 23 * * *',
      timeZone: 'Europe/Berlin',
    });
    expect(weekly('mon', '06:05', 'Asia/Tokyo')).toEqual({ cron: '5 6 * * mon', timeZone: 'Asia/Tokyo' });
    const sunday = occurrencesOf(weekly('sun', '00:00'), 'id', new Map()).after(Date.UTC(2026, 0, 1));
    expect(new Date(sunday!).getUTCDay()).toBe(0);
  });

  it('refuses what is no time, day or number of minutes', () => {
    for (const time of ['9:00', '24:00', '09:60', '', '09:00:60', 9, undefined, '09:00 ']) {
      expect(refusalOf(() => daily(time as string))).toMatchObject({ argument: 'time' });
    }
    for (const day of ['Mon', 'monday', '', 1]) {
      expect(refusalOf(() => weekly(day as 'mon', '09:00'))).toMatchObject({ argument: 'day' });
    }
    for (const minutes of [0, 1.5, Number.NaN, '5', 5_256_001]) {
      expect(refusalOf(() => everyMinutes(minutes as number))).toMatchObject({ argument: 'minutes' });
    }
  });
});

describe('every so many milliseconds', () => {
  const next = (rule: object, at: number) => occurrencesOf(rule as never, 'id', new Map()).after(at);

  it('fires at the anchor and multiples from it, so that no restart moves it', () => {
    expect(next({ everyMs: 1_000 }, 1_500)).toBe(2_000);
    expect(next({ everyMs: 1_000 }, 2_000)).toBe(3_000);
    expect(next({ everyMs: 1_000, anchorAt: 250 }, 2_000)).toBe(2_250);
    expect(next({ everyMs: 1_000, anchorAt: 9_250 }, 2_000)).toBe(2_250);
  });
});

function refusalOf(act: () => unknown): Error {
  try {
    act();
  } catch (error) {
    return error as Error;
  }
  throw new Error('it was taken');
}
