/**
 * What a schedule does now: a pure function of its state and the time. The scheduler asks, writes the new
 * state together with the tasks of the fires, and comes back when it is told to.
 *
 *     ───────┬────────┬────────┬────────┬──────▶ time
 *          since    missed   missed  on time?  now        one look at four fires
 *
 * A fire is on time up to a minute after it was due, unless the next one is due as well: all others are
 * missed, and the misfire policy says what becomes of them. `since` only grows: what was decided once is not
 * decided again, wherever the clock goes.
 */
import type { EpochMs } from '../clock.js';
import type { FirePlan } from '../options/schedule-types.js';
import { jitterOf } from './jitter.js';
import { newestFires } from './newest.js';
import { type Occurrences, RuleFault } from './occurrences.js';

/** Why no fire follows any more. */
export type EndReason = 'finished' | 'endAt' | 'maxRuns';

/** What is stored of the course of a schedule. */
export interface ScheduleState {
  /** Fires up to this instant are decided. */
  readonly since: EpochMs;
  /** The newest fire that was enqueued. */
  readonly lastFireAt?: EpochMs;
  /** How many fires were enqueued. */
  readonly runs: number;
  readonly pausedAt?: EpochMs;
  readonly ended?: EndReason;
  /** What kept it from firing when it was last looked at. */
  readonly error?: string;
}

export interface Decision {
  /** To be enqueued, in order. */
  readonly fires: readonly EpochMs[];
  /** Fires that passed unserved, as far as they were counted; those made up among them. */
  readonly missed: number;
  /** How many of `fires` make up for missed ones. */
  readonly madeUp: number;
  /** A fire was left out because the last one's task is not final. */
  readonly isOverlap: boolean;
  /** The last fire's task is to be cancelled first. */
  readonly cancelsLast: boolean;
  readonly state: ScheduleState;
  /** When to look again; `undefined` while it is paused and when it has ended. */
  readonly lookAt: EpochMs | undefined;
}

/** So much later than it was due a fire is still on time: a restart, a busy host. */
export const ON_TIME_MS = 60_000;
/** How long a schedule waits after a fault of its rule. */
export const FAULT_WAIT_MS = 60_000;

/** @param isLastOpen  The last fire's task is not final; asked only where `overlap` is not `allow`. */
export function decide(
  id: string,
  occurrences: Occurrences,
  plan: FirePlan,
  state: ScheduleState,
  now: EpochMs,
  isLastOpen: boolean,
): Decision {
  if (state.pausedAt !== undefined || state.ended !== undefined) return nothing(state, undefined);
  try {
    return new Look(id, occurrences, plan, withoutError(state), now).decide(isLastOpen);
  } catch (error) {
    if (!(error instanceof RuleFault)) throw error;
    return stuck(state, error.message, now);
  }
}

/** It cannot fire for this reason, and waits. */
export function stuck(state: ScheduleState, error: string, now: EpochMs): Decision {
  return nothing({ ...state, error }, now + FAULT_WAIT_MS);
}

/**
 * The fires that follow, as far as they are known: at most `count`, none of a schedule that is paused or has
 * ended. Without their jitter.
 */
export function upcoming(
  occurrences: Occurrences,
  plan: FirePlan,
  state: ScheduleState,
  now: EpochMs,
  count: number,
): readonly EpochMs[] {
  const fires: EpochMs[] = [];
  if (state.pausedAt !== undefined || state.ended !== undefined) return fires;
  const most = Math.min(count, (plan.maxRuns ?? Number.POSITIVE_INFINITY) - state.runs);
  try {
    let at = Math.max(floorOf(plan, state), now);
    while (fires.length < most) {
      const next = occurrences.after(at);
      if (next === undefined || next > (plan.endAt ?? next)) break;
      fires.push(next);
      at = next;
    }
  } catch (error) {
    if (!(error instanceof RuleFault)) throw error;
  }
  return fires;
}

/** No fire up to this instant is to be looked at. */
function floorOf({ startAt }: FirePlan, { since, lastFireAt }: ScheduleState): EpochMs {
  const begin = startAt === undefined ? since : Math.max(since, startAt - 1);
  return lastFireAt === undefined ? begin : Math.max(begin, lastFireAt);
}

function withoutError({ error: _error, ...state }: ScheduleState): ScheduleState {
  return state;
}

function nothing(state: ScheduleState, lookAt: EpochMs | undefined): Decision {
  return { fires: [], missed: 0, madeUp: 0, isOverlap: false, cancelsLast: false, state, lookAt };
}

/** One look at one schedule. */
class Look {
  readonly #id: string;
  readonly #occurrences: Occurrences;
  readonly #plan: FirePlan;
  readonly #state: ScheduleState;
  readonly #now: EpochMs;

  constructor(id: string, occurrences: Occurrences, plan: FirePlan, state: ScheduleState, now: EpochMs) {
    this.#id = id;
    this.#occurrences = occurrences;
    this.#plan = plan;
    this.#state = state;
    this.#now = now;
  }

  decide(isLastOpen: boolean): Decision {
    const { overlap } = this.#plan;
    const { due, missed, decidedTo } = this.#due();
    const wanted = overlap === 'allow' ? due : due.slice(-1);
    const isOverlap = wanted.length > 0 && isLastOpen && overlap === 'skip';
    const fires = isOverlap ? [] : this.#bounded(wanted);
    const last = fires.at(-1);
    const state: ScheduleState = {
      ...this.#state,
      since: Math.max(this.#state.since, decidedTo),
      runs: this.#state.runs + fires.length,
      ...(last === undefined ? {} : { lastFireAt: last }),
    };
    const madeUp = fires.filter((fire) => !this.#isOnTime(fire) || fire !== due.at(-1)).length;
    return {
      ...{ fires, missed, madeUp, isOverlap },
      cancelsLast: fires.length > 0 && isLastOpen && overlap === 'cancel',
      ...this.#next(state),
    };
  }

  /** What is due and to be enqueued by the misfire policy, and how many fires were missed. */
  #due(): { readonly due: readonly EpochMs[]; readonly missed: number; readonly decidedTo: EpochMs } {
    const { misfire, catchUpMs, catchUpFires, jitterMs, endAt } = this.#plan;
    const floor = floorOf(this.#plan, this.#state);
    const most = misfire === 'all' ? catchUpFires : 1;
    const reach = Math.max(catchUpMs, ON_TIME_MS + jitterMs);
    const from = Math.max(floor, this.#now - reach - 1);
    const to = Math.min(this.#now, endAt ?? this.#now);
    // One more: the newest may still be waiting for its jitter.
    const { fires, older } = newestFires(this.#occurrences, from, to, most + 1);
    const passed = fires.filter((fire) => this.#dueAt(fire) <= this.#now);
    const due = passed.slice(-most);
    const first = from > floor ? this.#occurrences.after(floor) : undefined;
    const isBehind = first !== undefined && first <= Math.min(from, endAt ?? from);
    const last = due.at(-1);
    if (last === undefined) return { due, missed: isBehind ? 1 : 0, decidedTo: isBehind ? from : floor };
    const isOnTime = this.#isOnTime(last);
    const missed = passed.length + older + (isBehind ? 1 : 0) - (isOnTime ? 1 : 0);
    const mayFire = (fire: EpochMs): boolean =>
      (fire === last && isOnTime) || (misfire !== 'skip' && fire >= this.#now - catchUpMs);
    return { due: due.filter(mayFire), missed, decidedTo: last };
  }

  #bounded(fires: readonly EpochMs[]): readonly EpochMs[] {
    const { maxRuns } = this.#plan;
    return maxRuns === undefined ? fires : fires.slice(0, Math.max(0, maxRuns - this.#state.runs));
  }

  #next(state: ScheduleState): { readonly state: ScheduleState; readonly lookAt: EpochMs | undefined } {
    const { maxRuns, endAt } = this.#plan;
    const end = (ended: EndReason) => ({ state: { ...state, ended }, lookAt: undefined });
    if (maxRuns !== undefined && state.runs >= maxRuns) return end('maxRuns');
    const next = this.#occurrences.after(floorOf(this.#plan, state));
    if (next === undefined) return end('finished');
    if (endAt !== undefined && next > endAt) return end('endAt');
    return { state, lookAt: this.#dueAt(next) };
  }

  #isOnTime(fire: EpochMs): boolean {
    return this.#now - this.#dueAt(fire) <= ON_TIME_MS;
  }

  /** Before the next fire, so that fires keep their order. */
  #dueAt(fire: EpochMs): EpochMs {
    const { jitterMs } = this.#plan;
    if (jitterMs === 0) return fire;
    const next = this.#occurrences.after(fire);
    const room = next === undefined ? jitterMs : Math.min(jitterMs, next - fire - 1);
    return fire + Math.round(jitterOf(this.#id, fire) * room);
  }
}
