/**
 * What can be asked about schedules of whoever owns the tasks: a part of `Desk`, in a file of its own. As
 * there, arguments come unchecked, and stored values go through encoded.
 */
import type { EpochMs } from '../../clock.js';
import type { CheckedRule, FirePlan } from '../../options/schedule-types.js';
import type { CheckedEnqueueOptions } from '../../options/types.js';
import type { EndReason } from '../../schedule/decide.js';
import type { TaskId } from '../../task/task.js';
import type { PageRequest } from '../filters.js';
import type { Receipt } from '../receipt.js';

export interface ScheduleDesk {
  set(call: ScheduleCall): Promise<SetSchedule>;
  get(id: string): Promise<ScheduleView | undefined>;
  /** Without payloads: pages must not be of any size. */
  list(page: PageRequest): Promise<SchedulePage>;
  setPaused(id: string, isPaused: boolean): Promise<void>;
  delete(id: string): Promise<boolean>;
  runNow(id: string): Promise<Receipt>;
}

/** A schedule as its caller gives it. */
export interface ScheduleCall {
  readonly id: string;
  readonly rule: unknown;
  readonly name: string;
  readonly payload: unknown;
  readonly options: unknown;
}

/** The same, its payload encoded, on its way to the owner; there it is checked again. */
export interface SentSchedule extends Omit<ScheduleCall, 'payload'> {
  readonly body: Uint8Array;
}

export interface SetSchedule {
  readonly isNew: boolean;
  readonly view: ScheduleView;
}

export interface SchedulePage {
  readonly schedules: readonly ScheduleView[];
  /** Absent at the end. */
  readonly after?: string;
}

/** Everything known of a schedule; its payload stays encoded until asked for. */
export interface ScheduleView {
  readonly id: string;
  readonly rule: CheckedRule;
  /** What it does about its fires. */
  readonly plan: FirePlan;
  /** Name and options of its tasks. */
  readonly name: string;
  readonly options?: CheckedEnqueueOptions;
  /** Absent in lists, and where its tasks are `sensitive`. */
  readonly body?: Uint8Array;
  readonly state: 'active' | 'paused' | 'ended';
  /** Why no fire follows any more. */
  readonly ended?: EndReason;
  readonly pausedAt?: EpochMs;
  /** What kept it from firing when it was last looked at. */
  readonly error?: string;
  readonly createdAt: EpochMs;
  /** When it was last given to `schedule`, and was different from before. */
  readonly changedAt: EpochMs;
  /** The newest fire that was enqueued: the instant that the rule names. */
  readonly lastFireAt?: EpochMs;
  readonly lastTaskId?: TaskId;
  /** How many fires were enqueued. */
  readonly runs: number;
  /** The next five fires, without jitter; none while it is paused, or where its calendar is not known. */
  readonly nextFires: readonly EpochMs[];
}
