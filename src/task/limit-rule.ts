/**
 * What may be said of how often and how many at once, as plain data: with a task's definition, in the options
 * of the runtime, and while it runs. Bounds are in the tables of `src/options`; this file holds the shapes.
 */

/**
 * A rate limit: `capacity` tokens may be used at once after a quiet time, `refillPerSec` flow in. Over any
 * time W, starts take at most `capacity + refillPerSec × W` tokens.
 */
export interface BucketRate {
  readonly capacity: number;
  readonly refillPerSec: number;
}

/** So many starts in each window of `perMs`; windows begin at multiples of it since 1970 in UTC. */
export interface Quota {
  readonly limit: number;
  readonly perMs: number;
}

/** What limits one scope; what is absent limits nothing. */
export interface LimitRule {
  readonly tokenBucket?: BucketRate;
  /** Tasks at once; Infinity is no limit. */
  readonly concurrency?: number;
  readonly quota?: Quota;
}

/** A rule of a task name or of one key, whose lanes take turns with others. */
export interface LaneRule extends LimitRule {
  /** Starts for each start of a lane of weight 1. */
  readonly weight?: number;
}

/** What the definition of a task may say; with a `limitKey` it holds for each key by itself. */
export interface DefinedLimits extends LimitRule {
  /** Where the key is in the payload, for example `tenant.id`. Tasks without one share a key of their own. */
  readonly limitKey?: string;
}

/** The limits of a task name. */
export interface TaskLimits extends LaneRule, DefinedLimits {
  /** Holds for the name as a whole, beside what holds for each key. */
  readonly total?: LimitRule;
}

/** Whom a rule is for: all tasks, those of a queue, of a name, or of one key of a name. */
export type LimitScope =
  | 'runtime'
  | { readonly queue: string }
  | { readonly task: string }
  | { readonly task: string; readonly key: string };

/** A rule of any scope: `weight` is for names and keys, `limitKey` and `total` for names only. */
export type AnyLimitRule = TaskLimits;

/** The limits that the options of a runtime set, after their check. */
export interface CheckedLimits {
  readonly perRuntime?: LimitRule;
  readonly queues: ReadonlyMap<string, LimitRule>;
  readonly tasks: ReadonlyMap<string, CheckedTaskLimits>;
}

export interface CheckedTaskLimits extends TaskLimits {
  readonly keys: ReadonlyMap<string, LaneRule>;
}
