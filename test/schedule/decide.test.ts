/** What a schedule does at an instant: misfires, overlap, jitter, bounds, and clocks that jump. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CheckedRule, FirePlan } from '#src/options/schedule-types.js';
import { validateScheduleOptions } from '#src/options.js';
import { type Decision, decide, FAULT_WAIT_MS, type ScheduleState, upcoming } from '#src/schedule/decide.js';
import { newestFires } from '#src/schedule/newest.js';
import {
  type Calendars,
  type Occurrences,
  occurrencesOf,
  storedOccurrences,
} from '#src/schedule/occurrences.js';

const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const BEGIN = Date.UTC(2026, 0, 1);

/** One schedule and what has become of it; instants are told from `BEGIN`. */
class Course {
  readonly occurrences: Occurrences;
  readonly plan: FirePlan;
  state: ScheduleState = { since: BEGIN, runs: 0 };
  isLastOpen = false;
  readonly fires: number[] = [];

  constructor(rule: CheckedRule, options: object = {}, calendars: Calendars = new Map()) {
    this.occurrences = occurrencesOf(rule, 'id', calendars);
    this.plan = validateScheduleOptions(options, 'options').plan;
  }

  look(now: number): Decision {
    const at = BEGIN + now;
    const decision = decide('id', this.occurrences, this.plan, this.state, at, this.isLastOpen);
    this.state = decision.state;
    this.fires.push(...decision.fires);
    return decision;
  }

  /** Looks when it is told to look, as often as that is until then. */
  runUntil(now: number): void {
    for (let at = this.look(0).lookAt; at !== undefined && at <= BEGIN + now; ) {
      at = this.look(at - BEGIN).lookAt;
    }
  }
}

const hourly: CheckedRule = { everyMs: HOUR };
const from = (fires: readonly number[]): number[] => fires.map((fire) => (fire - BEGIN) / HOUR);

describe('a schedule that is looked at in time', () => {
  it('fires each occurrence once', () => {
    const course = new Course(hourly);
    course.runUntil(5 * HOUR);
    expect(from(course.fires)).toEqual([1, 2, 3, 4, 5]);
    expect(course.state).toEqual({ since: BEGIN + 5 * HOUR, runs: 5, lastFireAt: BEGIN + 5 * HOUR });
  });

  it('does nothing between two fires, and knows the next one', () => {
    const course = new Course(hourly);
    course.look(HOUR);
    expect(course.look(1.5 * HOUR)).toMatchObject({ fires: [], missed: 0, lookAt: BEGIN + 2 * HOUR });
  });

  it('takes a fire that is up to a minute late as on time, under every policy', () => {
    for (const misfire of ['skip', 'latest', 'all']) {
      const course = new Course(hourly, { misfire, catchUpMs: 0 });
      expect(course.look(HOUR + MINUTE)).toMatchObject({ fires: [BEGIN + HOUR], missed: 0, madeUp: 0 });
    }
  });
});

/** It slept from 0:30 to this time; fires at 1, 2 and 3 passed. Beyond `catchUpMs` nobody counts. */
const SLEPT: readonly [until: number, options: object, fires: number[], missed: number, madeUp: number][] = [
  [3.5, { misfire: 'skip' }, [], 3, 0],
  [3.5, { misfire: 'latest' }, [3], 3, 1],
  [3.5, { misfire: 'all' }, [1, 2, 3], 3, 3],
  [3.5, { misfire: 'all', catchUpFires: 2 }, [2, 3], 3, 2],
  [3.5, { misfire: 'all', catchUpMs: 2 * HOUR }, [2, 3], 3, 2],
  [3.5, { misfire: 'latest', catchUpMs: HOUR / 4 }, [], 1, 0],
  [3.5, { misfire: 'all', catchUpMs: 0 }, [], 1, 0],
  [3.5, { misfire: 'all', maxRuns: 2 }, [1, 2], 3, 2],
  [3.5, { misfire: 'all', endAt: BEGIN + 2 * HOUR }, [1, 2], 2, 2],
  [3.5, { misfire: 'all', startAt: BEGIN + 2 * HOUR }, [2, 3], 2, 2],
  [3.5, { misfire: 'all', overlap: 'skip' }, [3], 3, 1],
  [3, { misfire: 'skip' }, [3], 2, 0],
  [3, { misfire: 'latest' }, [3], 2, 0],
  [3, { misfire: 'all' }, [1, 2, 3], 2, 2],
];

describe('a schedule that slept through three fires', () => {
  it.each(SLEPT)('until %s h, with %o, makes up %o', (until, options, fires, missed, madeUp) => {
    const course = new Course(hourly, options);
    course.look(HOUR / 2);
    const decision = course.look(until * HOUR);
    expect(from(decision.fires)).toEqual(fires);
    expect(decision).toMatchObject({ missed, madeUp });
    // Nothing of it comes again.
    expect(course.look(until * HOUR)).toMatchObject({ fires: [], missed: 0 });
    if (decision.lookAt !== undefined) expect(decision.lookAt).toBe(BEGIN + 4 * HOUR);
  });

  it('makes up at most as many as it may, and counts no more than some of them', () => {
    for (const rule of [{ cron: '* * * * * *' }, { everyMs: 100 }, { cron: '*/7 9-17 * * 1-5' }]) {
      const course = new Course(rule, { misfire: 'all', catchUpFires: 50, catchUpMs: 3_000 * DAY });
      let asked = 0;
      const after = (at: number) => {
        asked++;
        return course.occurrences.after(at);
      };
      const now = BEGIN + 2_000 * DAY;
      const { fires, lookAt } = decide('id', { after }, course.plan, course.state, now, false);
      expect(fires).toHaveLength(50);
      expect(asked).toBeLessThan(4_000);
      const all = [...fires, lookAt!];
      for (const [at, fire] of fires.entries()) expect(course.occurrences.after(fire)).toBe(all[at + 1]);
    }
  });
});

describe('a schedule that fires once', () => {
  const once = { at: BEGIN + HOUR };

  it('ends with its fire', () => {
    const course = new Course(once);
    expect(course.look(0)).toMatchObject({ fires: [], lookAt: BEGIN + HOUR });
    const decision = course.look(HOUR);
    expect(decision).toMatchObject({ fires: [BEGIN + HOUR], lookAt: undefined });
    expect(decision.state.ended).toBe('finished');
  });

  it('treats a past instant as a misfire', () => {
    for (const [misfire, fires] of [
      ['skip', []],
      ['latest', [BEGIN - 2 * HOUR]],
      ['all', [BEGIN - 2 * HOUR]],
    ] as const) {
      const course = new Course({ at: BEGIN - 2 * HOUR }, { misfire });
      course.state = { since: -1, runs: 0 };
      expect(course.look(0)).toMatchObject({ fires, missed: 1, state: { ended: 'finished' } });
    }
  });
});

describe('a schedule with an end', () => {
  it('stops after so many fires', () => {
    const course = new Course(hourly, { maxRuns: 3 });
    course.runUntil(DAY);
    expect(from(course.fires)).toEqual([1, 2, 3]);
    expect(course.state).toMatchObject({ ended: 'maxRuns', runs: 3 });
  });

  it('fires at its last instant, and not after', () => {
    const course = new Course(hourly, { startAt: BEGIN + 2 * HOUR, endAt: BEGIN + 4 * HOUR });
    course.runUntil(DAY);
    expect(from(course.fires)).toEqual([2, 3, 4]);
    expect(course.state.ended).toBe('endAt');
  });

  it('shows the fires that follow, none when it is paused or has ended', () => {
    const { occurrences, plan, state } = new Course(hourly, { endAt: BEGIN + 3 * HOUR, maxRuns: 2 });
    const shown = (over: Partial<ScheduleState>, now: number) =>
      from(upcoming(occurrences, plan, { ...state, ...over }, BEGIN + now, 5));
    expect(shown({}, 0)).toEqual([1, 2]);
    expect(shown({ runs: 1 }, 2 * HOUR)).toEqual([3]);
    expect(shown({}, 3 * HOUR)).toEqual([]);
    expect(shown({ pausedAt: BEGIN }, 0)).toEqual([]);
    expect(shown({ ended: 'endAt' }, 0)).toEqual([]);
  });
});

describe('a fire while the task of the last one is not final', () => {
  it.each([
    ['allow', { fires: [BEGIN + HOUR], isOverlap: false, cancelsLast: false }],
    ['skip', { fires: [], isOverlap: true, cancelsLast: false }],
    ['cancel', { fires: [BEGIN + HOUR], isOverlap: false, cancelsLast: true }],
  ])('with overlap %s', (overlap, expected) => {
    const course = new Course(hourly, { overlap });
    course.isLastOpen = true;
    const decision = course.look(HOUR);
    expect(decision).toMatchObject({ ...expected, lookAt: BEGIN + 2 * HOUR });
    expect(decision.state.since).toBe(BEGIN + HOUR);
    course.isLastOpen = false;
    expect(course.look(2 * HOUR)).toMatchObject({ fires: [BEGIN + 2 * HOUR], cancelsLast: false });
  });
});

describe('jitter', () => {
  it('puts each fire off, always by the same, in order and within its bound', () => {
    const delays = [0, 1].map(() => {
      const course = new Course(hourly, { jitterMs: 30 * MINUTE });
      const seen: number[] = [];
      for (let at = course.look(0).lookAt!; seen.length < 20; ) {
        const decision = course.look(at - BEGIN);
        expect(decision.fires).toHaveLength(1);
        seen.push(at - decision.fires[0]!);
        expect(course.look(at - BEGIN - 1).fires).toEqual([]);
        at = decision.lookAt!;
      }
      return seen;
    });
    expect(delays[0]).toEqual(delays[1]);
    for (const delay of delays[0]!) expect(delay).toBeLessThanOrEqual(30 * MINUTE);
    expect(new Set(delays[0]).size).toBeGreaterThan(15);
  });

  it('never passes the next fire', () => {
    const course = new Course({ everyMs: SECOND }, { jitterMs: DAY });
    course.runUntil(20 * SECOND);
    expect(course.fires).toEqual(Array.from({ length: 19 }, (_, at) => BEGIN + (at + 1) * SECOND));
  });
});

describe('a calendar of the host', () => {
  const days = [BEGIN + DAY, BEGIN + 3 * DAY];
  const calendars = (answer: (after: number) => unknown): Calendars => new Map([['bank', answer as never]]);
  const bank = { next: 'bank' };

  it('says when to fire, and ends the schedule with undefined', () => {
    const course = new Course(
      bank,
      {},
      calendars((after) => days.find((day) => day > after)),
    );
    course.runUntil(9 * DAY);
    expect(course.fires).toEqual(days);
    expect(course.state).toMatchObject({ ended: 'finished', runs: 2 });
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('no database');
      },
      'calendar "bank" threw: no database',
    ],
    [
      'throws no error',
      () => {
        throw 5;
      },
      'what it threw is no error',
    ],
    ['goes backwards', (after: number) => after - 1, 'an instant after'],
    ['stands still', (after: number) => after, 'an instant after'],
    ['is no number', () => Number.NaN, 'an instant after'],
    ['is a promise', async () => BEGIN, 'an instant after'],
    ['is beyond all years', () => 9e15, 'an instant after'],
    ['is a bad date', () => new Date(Number.NaN), 'an instant after'],
  ])('that %s keeps the schedule waiting, and its error visible', (_what, answer, error) => {
    const course = new Course(bank, {}, calendars(answer));
    const decision = course.look(DAY);
    expect(decision).toMatchObject({ fires: [], lookAt: BEGIN + DAY + FAULT_WAIT_MS });
    expect(decision.state.error).toContain(error);
    expect(upcoming(course.occurrences, course.plan, course.state, BEGIN, 5)).toEqual([]);
  });

  it('that is back again is asked for all that was missed, and the error is gone', () => {
    let isBroken = true;
    const answer = (after: number) => {
      if (isBroken) throw new Error('no database');
      return new Date(after + DAY);
    };
    const course = new Course(bank, { misfire: 'all' }, calendars(answer));
    expect(course.look(DAY).state.error).toBeDefined();
    isBroken = false;
    expect(course.look(2 * DAY).fires).toEqual([BEGIN + DAY, BEGIN + 2 * DAY]);
    expect(course.state.error).toBeUndefined();
  });

  it('or a zone that is not known any more keeps the schedule waiting', () => {
    const gone = { cron: '@daily', timeZone: 'Pacific/Atlantis' };
    const occurrences = storedOccurrences(gone, 'id', new Map());
    const { plan, state } = new Course(hourly);
    const decision = decide('id', occurrences, plan, state, BEGIN, false);
    expect(decision.lookAt).toBe(BEGIN + FAULT_WAIT_MS);
    expect(decision.state.error).toContain('schedule.timeZone must be an IANA time zone');
    expect(upcoming(occurrences, plan, decision.state, BEGIN, 5)).toEqual([]);
  });

  it('that nobody has given keeps the schedule waiting', () => {
    expect(new Course(bank).look(DAY).state.error).toBe('this runtime has no calendar "bank"');
  });
});

describe('a clock that jumps', () => {
  it('backwards fires no fired occurrence again, and goes on where it was', () => {
    const course = new Course(hourly);
    course.runUntil(3 * HOUR);
    for (const back of [2.5, 1, 0, -DAY, -10 * 365 * DAY]) {
      expect(course.look(back * HOUR)).toMatchObject({ fires: [], lookAt: BEGIN + 4 * HOUR });
    }
    expect(from(course.look(4 * HOUR).fires)).toEqual([4]);
  });

  it('forwards is a misfire', () => {
    const course = new Course(hourly, { misfire: 'latest' });
    course.runUntil(3 * HOUR);
    expect(from(course.look(10 * 365 * DAY + HOUR / 2).fires)).toEqual([10 * 365 * 24]);
  });
});

const RULES: readonly CheckedRule[] = [
  { everyMs: 7 * MINUTE, anchorAt: 123 },
  { cron: '*/10 * * * *', timeZone: 'Australia/Lord_Howe' },
  { cron: '30 2 * * *', timeZone: 'Europe/Berlin' },
  { cron: 'H H(1-4) * * 1,3' },
];

describe('whatever the clock does', () => {
  it('fires only grow, each is an occurrence, none is in the future', () => {
    const looks = fc.array(fc.integer({ min: -2 * DAY, max: 9 * DAY }), { minLength: 1, maxLength: 30 });
    const options = fc.record({
      misfire: fc.constantFrom('skip', 'latest', 'all'),
      catchUpFires: fc.integer({ min: 1, max: 5 }),
      catchUpMs: fc.constantFrom(0, HOUR, 3 * DAY),
      jitterMs: fc.constantFrom(0, 0, 20 * MINUTE),
      overlap: fc.constantFrom('allow', 'skip', 'cancel'),
      startAt: fc.constantFrom(undefined, BEGIN + DAY),
      endAt: fc.constantFrom(undefined, undefined, BEGIN + 6 * DAY),
      maxRuns: fc.constantFrom(undefined, undefined, 7),
    });
    const property = fc.property(fc.constantFrom(...RULES), options, looks, (rule, chosen, steps) => {
      const course = new Course(rule, chosen);
      let now = 0;
      for (const step of steps) {
        now += step;
        const before = course.state;
        course.isLastOpen = step % 3 === 0;
        const { fires, lookAt, state, missed, madeUp } = course.look(now);
        const makesUpAll = chosen.misfire === 'all' && chosen.overlap === 'allow';
        expect(fires.length).toBeLessThanOrEqual(makesUpAll ? chosen.catchUpFires : 1);
        if (chosen.overlap === 'skip' && course.isLastOpen) expect(fires).toEqual([]);
        expect(madeUp).toBeLessThanOrEqual(missed);
        for (const fire of fires) {
          expect(fire).toBeLessThanOrEqual(Math.min(BEGIN + now, chosen.endAt ?? BEGIN + now));
          expect(fire).toBeGreaterThanOrEqual(chosen.startAt ?? BEGIN);
          expect(course.occurrences.after(fire - 1)).toBe(fire);
        }
        expect(state.since).toBeGreaterThanOrEqual(before.since);
        expect(state.runs).toBeLessThanOrEqual(chosen.maxRuns ?? Number.POSITIVE_INFINITY);
        if (state.ended === undefined) expect(lookAt!).toBeGreaterThan(BEGIN + now);
        else expect(lookAt).toBeUndefined();
        expect(course.look(now).fires).toEqual([]);
      }
      for (const [at, fire] of course.fires.entries()) {
        expect(fire).toBeGreaterThan(course.fires[at - 1] ?? Number.NEGATIVE_INFINITY);
      }
    });
    fc.assert(property, { numRuns: 150 });
  });

  it('a schedule that is looked at when it wants to be misses nothing', () => {
    fc.assert(
      fc.property(fc.constantFrom(...RULES), fc.constantFrom(0, MINUTE, HOUR), (rule, jitterMs) => {
        const course = new Course(rule, { jitterMs, misfire: 'skip' });
        course.runUntil(3 * DAY);
        const { fires } = newestFires(course.occurrences, BEGIN, course.state.since, 1_000);
        expect(course.fires.slice(-fires.length)).toEqual(fires.slice(-course.fires.length));
        expect(course.state.runs).toBe(course.fires.length);
      }),
      { numRuns: 12 },
    );
  });
});
