/**
 * A schedule as it is stored: one fact, which holds what was asked for and what has become of it. A fire and
 * the new state of its schedule are one transaction.
 */
import { isDeepStrictEqual } from 'node:util';
import type { EpochMs } from '../../clock.js';
import type { CheckedRule, FirePlan } from '../../options/schedule-types.js';
import type { ScheduleState } from '../../schedule/decide.js';
import { decodeValue, encodeValue } from '../../task/codec.js';
import type { TaskId } from '../../task/task.js';
import type { EncodedTask } from '../front.js';

/** What was asked for. */
export interface ScheduleDefinition {
  readonly rule: CheckedRule;
  readonly plan: FirePlan;
  readonly task: EncodedTask;
}

export interface StoredSchedule extends ScheduleDefinition {
  readonly state: ScheduleState;
  readonly createdAt: EpochMs;
  readonly changedAt: EpochMs;
  readonly lastTaskId?: TaskId;
}

export const SCHEDULE_PREFIX = 'schedule/';
/** Schedules read from the store at once: each may hold a payload. */
export const SCHEDULES_PER_READ = 50;

export function encodeSchedule(schedule: StoredSchedule): Uint8Array {
  return encodeValue(schedule).slice();
}

/** @throws {NotDecodableError} */
export function decodeSchedule(bytes: Uint8Array): StoredSchedule {
  return decodeValue(bytes) as StoredSchedule;
}

/** The schedule after this was asked for, `before` being what was there. */
export function redefined(
  definition: ScheduleDefinition,
  before: StoredSchedule | undefined,
  now: EpochMs,
): StoredSchedule {
  const { rule, plan, task } = definition;
  // One that fires once may be late already; all others begin now.
  const begin = 'at' in rule ? -1 : now;
  if (before === undefined) {
    return { rule, plan, task, state: { since: begin, runs: 0 }, createdAt: now, changedAt: now };
  }
  const { ended, error: _error, ...course } = before.state;
  const goesOn = isDeepStrictEqual(rule, before.rule) && (ended === undefined || 'at' in rule);
  const state = goesOn ? course : { ...course, since: begin };
  return { ...before, rule, plan, task, state, changedAt: now };
}

/** Whether asking for this changes nothing, in whatever order the caller wrote it. */
export function isSameDefinition(a: ScheduleDefinition, b: ScheduleDefinition): boolean {
  const [{ body: one, ...ofOne }, { body: other, ...ofOther }] = [a.task, b.task];
  return (
    isDeepStrictEqual([a.rule, a.plan, ofOne], [b.rule, b.plan, ofOther]) && Buffer.compare(one, other) === 0
  );
}
