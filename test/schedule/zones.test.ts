/**
 * Cron in every time zone, at every change of its clocks from 2020 to 2035, against an oracle that goes
 * through the minutes. Goal: no fire is lost, doubled or moved. Method: the oracle reads the clock face of
 * each minute around the change, with a formatter of its own, and fires where it shows what the expression
 * names. Zones that change in the same way at the same instant are gone through once.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCron } from '#src/schedule/cron.js';
import { nextInZone } from '#src/schedule/cron-in-zone.js';
import { type Zone, zoneOf } from '#src/schedule/zone.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const FROM = Date.UTC(2020, 0, 1);
const TO = Date.UTC(2036, 0, 1);
/** No zone changes its clocks and back within less. */
const STEP_MS = 9 * 24 * HOUR_MS;
/** Minutes gone through before and after a change. */
const WINDOW_MS = 1.5 * HOUR_MS;

interface Change {
  readonly zone: string;
  /** The first instant of the new offset. */
  readonly at: number;
  readonly before: number;
  readonly after: number;
}

/** What the clocks of a zone show, as if in UTC. */
function clockOf(zone: string): (instant: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    ...{ year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit' },
  });
  return (instant) => {
    const [, month, day, year, hour, minute] = /^(\d\d)\/(\d\d)\/(\d+), (\d\d):(\d\d)$/.exec(
      format.format(instant),
    )!;
    return Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute));
  };
}

function changesOf(zone: string): Change[] {
  const clock = clockOf(zone);
  const offsetAt = (instant: number): number => clock(instant) - instant;
  const changes: Change[] = [];
  let before = offsetAt(FROM);
  for (let at = FROM; at < TO; at += STEP_MS) {
    const after = offsetAt(at + STEP_MS);
    if (after === before) continue;
    let [last, first] = [at / MINUTE_MS, (at + STEP_MS) / MINUTE_MS];
    while (first - last > 1) {
      const middle = Math.floor((last + first) / 2);
      if (offsetAt(middle * MINUTE_MS) === before) last = middle;
      else first = middle;
    }
    changes.push({ zone, at: first * MINUTE_MS, before, after });
    before = after;
  }
  return changes;
}

/** An expression of minutes and hours: its text, and what the oracle knows of it. */
interface Expression {
  readonly text: string;
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly stepsMinutes: boolean;
  readonly stepsHours: boolean;
}

const upTo = (count: number, step = 1) =>
  Array.from({ length: Math.ceil(count / step) }, (_, at) => at * step);

function expression(minutes: number | readonly number[], hours: number | readonly number[]): Expression {
  const [minute, stepsMinutes] =
    typeof minutes === 'number' ? [`*/${minutes}`, true] : [minutes.join(), false];
  const [hour, stepsHours] =
    typeof hours === 'number' ? [hours === 1 ? '*' : `*/${hours}`, true] : [hours.join(), false];
  return {
    text: `${minute} ${hour} * * *`,
    minutes: new Set(typeof minutes === 'number' ? upTo(60, minutes) : minutes),
    hours: new Set(typeof hours === 'number' ? upTo(24, hours) : hours),
    ...{ stepsMinutes, stepsHours },
  };
}

/** Expressions that name what the change skips or repeats, and some that do not. */
function expressionsFor({ at, before, after }: Change): Expression[] {
  const begin = new Date(at + Math.min(before, after));
  const middle = new Date(at + (before + after) / 2);
  const end = new Date(at + Math.max(before, after));
  const named = [begin, middle, end].map((face) => expression([face.getUTCMinutes()], [face.getUTCHours()]));
  const hours = [...new Set([begin.getUTCHours(), middle.getUTCHours()])];
  return [
    ...named,
    expression([middle.getUTCMinutes()], 1),
    expression([0, 15, 45], hours),
    expression(20, 1),
    expression(7, hours),
    expression([begin.getUTCMinutes()], 2),
  ];
}

/** What the clocks show, minute by minute, around a change; before the window only what can come again. */
function facesAround({ zone, at, before, after }: Change): [instant: number, face: number][] {
  const clock = clockOf(zone);
  const from = at - Math.max(WINDOW_MS, Math.abs(after - before));
  const minutes = Array.from({ length: (at + WINDOW_MS - from) / MINUTE_MS + 1 }, (_, minute) => minute);
  return minutes.map((minute) => [from + minute * MINUTE_MS, clock(from + minute * MINUTE_MS)]);
}

/** Fires in (at - WINDOW, at + WINDOW], minute by minute. */
function oracle({ at, before, after }: Change, wanted: Expression, faces: [number, number][]): number[] {
  const isWanted = (face: number): boolean => {
    const shown = new Date(face);
    return wanted.minutes.has(shown.getUTCMinutes()) && wanted.hours.has(shown.getUTCHours());
  };
  const goesOn = (after - before) % HOUR_MS === 0 ? wanted.stepsHours : wanted.stepsMinutes;
  const fires = new Set<number>();
  const shown = new Set<number>();
  for (const [instant, face] of faces) {
    if (isWanted(face) && (goesOn || !shown.has(face)) && instant > at - WINDOW_MS) fires.add(instant);
    shown.add(face);
  }
  for (let face = at + before; face < at + after; face += MINUTE_MS) {
    if (isWanted(face) && !goesOn) fires.add(at);
  }
  return [...fires].sort((a, b) => a - b);
}

function firesOf({ zone, at }: Change, { text }: Expression, from = at - WINDOW_MS): number[] {
  const cron = parseCron(text, 'id');
  const fires: number[] = [];
  let next = nextInZone(cron, zoneOf(zone), from);
  for (; next !== undefined && next <= at + WINDOW_MS; next = nextInZone(cron, zoneOf(zone), next)) {
    fires.push(next);
    if (fires.length > 1_000) throw new Error(`${text} in ${zone} fires without end`);
  }
  return fires;
}

const zones = Intl.supportedValuesOf('timeZone');
const changes = zones.flatMap(changesOf);
const alike = new Map<string, Change>();
for (const change of changes) alike.set(`${change.at} ${change.before} ${change.after}`, change);

describe('cron in every time zone', () => {
  it('has changes to go through, of whole and of half hours', () => {
    expect(zones.length).toBeGreaterThan(400);
    expect(changes.length).toBeGreaterThan(3_000);
    const sizes = new Set(
      [...alike.values()].map(({ before, after }) => Math.abs(after - before) / MINUTE_MS),
    );
    expect([...sizes]).toEqual(expect.arrayContaining([30, 60]));
    console.log(`${changes.length} changes in ${zones.length} zones, ${alike.size} of them different`);
  });

  it('fires as the minutes around each change say', () => {
    let fires = 0;
    for (const [serial, change] of [...alike.values()].entries()) {
      const faces = facesAround(change);
      // Each change has a quarter of them: the changes of one zone have them all, time and again.
      for (const [at, wanted] of expressionsFor(change).entries()) {
        if ((serial + at) % 4 > 0) continue;
        const expected = oracle(change, wanted, faces);
        expect(firesOf(change, wanted), placeOf(change, wanted)).toEqual(expected);
        fires += expected.length;
      }
    }
    expect(fires).toBeGreaterThan(5_000);
  });

  it('fires at the same instants from wherever one begins to look', () => {
    for (const [serial, change] of [...alike.values()].entries()) {
      if (serial % 8 > 0) continue;
      const all = expressionsFor(change);
      const wanted = all[(serial / 8) % all.length]!;
      const fires = firesOf(change, wanted);
      for (const from of [-61, -31, -1, 0, 1, 29].map((minutes) => change.at + minutes * MINUTE_MS - 1)) {
        const expected = fires.filter((fire) => fire > from);
        expect(firesOf(change, wanted, from), placeOf(change, wanted)).toEqual(expected);
      }
    }
  });

  it('knows the offset of each zone before and after each change', () => {
    for (const { zone, at, before, after } of changes) {
      const known: Zone = zoneOf(zone);
      if (known.offsetAt(at - 1) !== before || known.offsetAt(at) !== after) expect.fail(`${zone} at ${at}`);
    }
  });

  it('finds the instant of each change', () => {
    for (const { zone, at } of alike.values()) {
      expect(zoneOf(zone).changeIn(at - HOUR_MS, at + HOUR_MS), zone).toBe(at);
    }
  });

  it('grows with where one begins to look, by itself and beside another', () => {
    const someZone = fc.constantFrom(...zones);
    const field = (last: number) =>
      fc.oneof(
        fc.constant('*'),
        fc.integer({ min: 2, max: 30 }).map((step) => `*/${step}`),
        fc.integer({ min: 0, max: last }).map(String),
      );
    const days = fc.constantFrom('* * *', '* * 1-5', '1 * *', 'L * *', '29 2 *', '* 3 0#5');
    const instant = fc.integer({ min: FROM, max: TO });
    const property = fc.property(
      ...([someZone, field(59), field(23), days, instant, instant] as const),
      (zone, minute, hour, day, one, other) => {
        const cron = parseCron(`${minute} ${hour} ${day}`, 'id');
        const next = (after: number) => nextInZone(cron, zoneOf(zone), after)!;
        const [early, late] = [Math.min(one, other), Math.max(one, other)];
        expect(next(early)).toBeGreaterThan(early);
        expect(next(early)).toBeLessThanOrEqual(next(late));
        expect(next(next(early) - 1)).toBe(next(early));
        expect(next(next(early))).toBeGreaterThan(next(early));
      },
    );
    fc.assert(property, { numRuns: 150 });
  });
});

function placeOf({ zone, at }: Change, { text }: Expression): string {
  return `${text} in ${zone} around ${new Date(at).toISOString()}`;
}
