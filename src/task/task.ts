/**
 * The domain: what a task is, the states it passes through, and how its attempts end. Values only; the rules
 * that move a task from one state to the next are in `transition.ts`, the bytes in `codec.ts`.
 *
 *             enqueue(runAt)            enqueue              enqueue(after)
 *                   │                      │                       │
 *                   ▼       promote        ▼       release         ▼
 *               scheduled ────────────▶  ready  ◀───────────── blocked
 *                   ▲                      │ claim
 *                   │ retry, snooze        ▼
 *                   └────────────────── running ──▶ completed │ dead │ cancelled
 *                                                   └──── redrive: dead, cancelled ▶ ready
 */
import type { EpochMs } from '../clock.js';
import type { TaskOptions } from './task-options.js';

/** Text form of a task's 128-bit identity: 26 characters of `[0-9a-v]`. Opaque; see `id.ts`. */
export type TaskId = string;

/** Integer 0 to 9; 9 runs first. */
export type Level = number;

/**
 * Where a task is. The last three are final. A task waiting for a retry is `scheduled` with a past attempt.
 */
export type TaskState = 'scheduled' | 'ready' | 'blocked' | 'running' | FinalState;
/** How a task ended, for good. */
export type FinalState = 'completed' | 'dead' | 'cancelled';
export const TASK_STATES = [
  'scheduled',
  'ready',
  'blocked',
  'running',
  'completed',
  'dead',
  'cancelled',
] as const satisfies readonly TaskState[];

export function isFinal(state: TaskState): state is FinalState {
  return state === 'completed' || state === 'dead' || state === 'cancelled';
}

/**
 * How one attempt ended. `interrupted`: its thread was taken from it. An attempt that the stop or the death
 * of its runtime interrupted is charged to nobody and not kept, unless the task ended with it.
 */
export type AttemptOutcome =
  | 'completed'
  | 'failed'
  | 'timed-out'
  | 'crashed'
  | 'cancelled'
  | 'snoozed'
  | 'interrupted';

/** One start of the handler, as it is kept. */
export interface Attempt {
  /** From 1. An interrupted attempt that was not kept shares its number with the one that follows. */
  readonly attempt: number;
  readonly startedAt: EpochMs;
  /** Working time, fractional milliseconds. */
  readonly runMs: number;
  readonly outcome: AttemptOutcome;
  /** A `StoredError` for `failed`, `timed-out` and `crashed`. */
  readonly error?: import('./stored-error.js').StoredError;
}

/** One line written by `context.log`. */
export interface LogLine {
  readonly at: EpochMs;
  readonly message: string;
}

/**
 * Counts that decide what happens next, kept apart because their limits are: `maxAttempts` bounds failures,
 * `maxCrashes` bounds threads and children that died under the task.
 */
export interface Tally {
  readonly failures: number;
  readonly crashes: number;
  readonly snoozes: number;
}
export const FRESH: Tally = { failures: 0, crashes: 0, snoozes: 0 };

/** What becomes of an enqueue that finds no room. */
export type WhenFull = 'wait' | 'reject' | 'shed';

/** A task that has been checked and encoded, on its way into a backend. */
export interface NewTask {
  readonly name: string;
  readonly queue: string;
  readonly level: Level;
  /** Encoded payload (`codec.ts`); owned by the task from here on. */
  readonly body: Uint8Array;
  /** What this enqueue sets differently from the task's definition; stored with the task. */
  readonly options?: TaskOptions;
  /** Not before this instant; `undefined` is at once. */
  readonly runAt?: EpochMs;
  /** Not worth starting after this instant. */
  readonly staleAt?: EpochMs;
  readonly unique?: UniqueKey;
  /** Must be stored and flushed before its first start. */
  readonly startAfterCommit?: boolean;
  /** Nobody handles this name now: the task waits aside so that it never stands before another. */
  readonly unhandled?: boolean;
  /** The lane of its limits (`lane.ts`), kept over delays, retries and redrives; absent is none. */
  readonly lane?: string;
  /** Buffers moved in with `transfer`; memory backend only. */
  readonly transfer?: TransferredPayload;
  /**
   * Of a `context.enqueue`: the task becomes a member of the flow of the task that enqueued it, and what
   * waits for that one waits for this one, too. Without meaning outside of a settlement of a member.
   */
  readonly inFlow?: boolean;
  /** Id given by the caller of `context.enqueue`, none otherwise. */
  readonly parent?: TaskId;
  /** By default what its runtime says. Of its enqueue only, as is `signal`: not stored. */
  readonly whenFull?: WhenFull;
  /** Ends its wait for room. */
  readonly signal?: AbortSignal;
  /** The schedule that made it, and for when. */
  readonly schedule?: FireOf;
}

/** A fire of a schedule: what made a task. */
export interface FireOf {
  readonly id: string;
  /** The instant that the rule names: without jitter, and however late it was made up. */
  readonly fireAt: EpochMs;
}

/** What was moved into the runtime by `transfer`, handed out as a copy but for the last attempt. */
export interface TransferredPayload {
  readonly value: unknown;
  readonly list: readonly ArrayBuffer[];
}

export interface UniqueKey {
  /** 1 to 512 characters. Keys of different task names never meet. */
  readonly key: string;
  /** How long the key stays taken, milliseconds; without it, until the task is final. */
  readonly forMs?: number;
  readonly onConflict: 'keep' | 'replace' | 'reject';
}

/** Everything known of one task, for `get` and `list`. Payload and result stay encoded until asked for. */
export interface TaskView {
  readonly id: TaskId;
  readonly name: string;
  readonly queue: string;
  readonly priority: Level;
  readonly state: TaskState;
  /** Ready, but no handler of this name is known. */
  readonly unhandled: boolean;
  readonly createdAt: EpochMs;
  readonly attempts: readonly Attempt[];
  readonly failures: number;
  readonly crashes: number;
  /** When a scheduled task becomes ready. */
  readonly nextAttemptAt?: EpochMs;
  readonly settledAt?: EpochMs;
  /** Why a final task is dead or cancelled. */
  readonly reason?: string;
  /**
   * What its enqueue set differently from its definition; not kept of what completed at its first attempt.
   */
  readonly options?: TaskOptions;
  /** The schedule that made it; not kept of what completed at its first attempt. */
  readonly schedule?: FireOf;
  readonly progress?: unknown;
  readonly logs: readonly LogLine[];
  /** Id of the flow that it is a member of. */
  readonly flow?: string;
  /** From `get` only: the labels of its parents, each with the ids of the first few. */
  readonly after?: readonly { readonly label: string; readonly parents: readonly TaskId[] }[];
  readonly body?: Uint8Array;
  readonly result?: Uint8Array;
}
