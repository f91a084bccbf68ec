/**
 * The options of a task as plain data: given with `task()`, as defaults of a queue, or for one enqueue, and
 * stored. Their bounds and defaults are in `options.ts`; this file holds only their shape.
 */
import type { DefinedLimits } from './limit-rule.js';

/** Waiting time before the next attempt; see `backoff.ts` for the formula. */
export interface BackoffPolicy {
  readonly kind: 'fixed' | 'linear' | 'exponential';
  readonly baseMs: number;
  /** Of `exponential` only; default 2. */
  readonly factor?: number;
  readonly capMs: number;
  readonly jitter?: 'full' | 'equal' | 'none';
}

/** How long a settled task is kept, milliseconds, by the state it ended in. */
export interface RetentionMs {
  readonly completed: number;
  readonly dead: number;
  readonly cancelled: number;
}

/** What an attempt runs in: a thread of this process, or a child process that can die without it. */
export type Isolation = 'thread' | 'process';

/** What may be said of a task at its definition, of a queue as its defaults, and of one enqueue. */
export interface TaskOptions {
  readonly queue?: string;
  readonly priority?: number | PriorityName;
  readonly maxAttempts?: number;
  readonly timeoutMs?: number;
  readonly killGraceMs?: number;
  readonly backoff?: Partial<BackoffPolicy>;
  /** Error names or codes after which the task is dead at once. */
  readonly notRetryable?: readonly string[];
  readonly maxCrashes?: number;
  readonly retentionMs?: Partial<RetentionMs>;
  readonly isolation?: Isolation;
  readonly startAfterCommit?: boolean;
  readonly codec?: string;
  /** Tokens and quota points that one start takes of the limits that hold for it. */
  readonly cost?: number;
  readonly sensitive?: boolean;
}

/** What may be said of a task at its definition only: limits hold for all tasks of a name or key. */
export interface DefinedOptions extends TaskOptions, DefinedLimits {}

/** Words for priorities: low 2, normal 5, high 7, critical 9. */
export type PriorityName = 'low' | 'normal' | 'high' | 'critical';
export const PRIORITY_NAMES: Readonly<Record<PriorityName, number>> = {
  low: 2,
  normal: 5,
  high: 7,
  critical: 9,
};

/** Every rule of one task after definition, queue and enqueue have been laid over the defaults. */
export interface ResolvedOptions {
  readonly maxAttempts: number;
  readonly timeoutMs: number;
  readonly killGraceMs: number;
  readonly backoff: Required<BackoffPolicy>;
  readonly notRetryable: readonly string[];
  readonly maxCrashes: number;
  readonly isolation: Isolation;
  readonly retentionMs: RetentionMs;
  readonly cost: number;
}
