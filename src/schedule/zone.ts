/**
 * Time zones, from the tables that Node brings along (`Intl`): how far a zone's clocks are from UTC at an
 * instant, and when they change. Exact to the second, also for zones with half hours and for past times.
 */
import type { EpochMs } from '../clock.js';
import { InvalidArgumentError } from '../errors.js';

export interface Zone {
  readonly name: string;
  /** What its clocks show, less UTC, milliseconds. */
  offsetAt(instant: EpochMs): number;
  /**
   * The first instant of the new offset, when it changes in (from, to]. Looks at the two ends: of a stretch
   * of some days, in which no zone changes twice.
   */
  changeIn(from: EpochMs, to: EpochMs): EpochMs | undefined;
}

const MAX_CHARS = 64;
/** There are some 600 names; each has a formatter of its own, about 0.1 ms to make. */
const MAX_KEPT = 1_000;
const kept = new Map<string, Zone>();

const UTC: Zone = { name: 'UTC', offsetAt: () => 0, changeIn: () => undefined };

/**
 * The zone of an IANA name.
 *
 * @param at  Where the name stands, for messages.
 * @throws {InvalidArgumentError} `ERR_MILLRACE_INVALID_ARGUMENT` for a name that Node does not know.
 */
export function zoneOf(name: unknown, at = 'schedule.timeZone'): Zone {
  if (name === undefined || name === 'UTC') return UTC;
  let zone = typeof name === 'string' ? kept.get(name) : undefined;
  if (zone === undefined) {
    zone = new IntlZone(checkZone(name, at));
    if (kept.size >= MAX_KEPT) kept.clear();
    kept.set(zone.name, zone);
  }
  return zone;
}

class IntlZone implements Zone {
  readonly name: string;
  readonly #format: Intl.DateTimeFormat;

  constructor(name: string) {
    this.name = name;
    this.#format = new Intl.DateTimeFormat('en-US', { timeZone: name, timeZoneName: 'longOffset' });
  }

  offsetAt(instant: EpochMs): number {
    const text = this.#format.format(instant);
    const [, sign, hours, minutes, seconds = 0] = OFFSET.exec(text) ?? [];
    if (sign === undefined) return 0;
    const ms = (Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds)) * 1_000;
    return sign === '-' ? -ms : ms;
  }

  changeIn(from: EpochMs, to: EpochMs): EpochMs | undefined {
    const before = this.offsetAt(from);
    if (to <= from || this.offsetAt(to) === before) return undefined;
    let [last, first] = [from, to];
    while (first - last > 1) {
      const middle = Math.floor((last + first) / 2);
      if (this.offsetAt(middle) === before) last = middle;
      else first = middle;
    }
    return first;
  }
}

/** `GMT`, `GMT+05:30`, `GMT-00:44:30`. */
const OFFSET = /GMT([+-])(\d\d):(\d\d)(?::(\d\d))?$/;

/** Offsets like `+01:00` are no zones to every version of Node. */
function checkZone(name: unknown, at: string): string {
  if (typeof name === 'string' && name.length <= MAX_CHARS && /^[A-Za-z]/.test(name)) {
    try {
      new Intl.DateTimeFormat('en-US', { timeZone: name });
      return name;
    } catch {
      // Refused below.
    }
  }
  throw new InvalidArgumentError(at, 'an IANA time zone, for example "Europe/Berlin"', name);
}
