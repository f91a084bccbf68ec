/**
 * The port that holds facts: small versioned values with compare-and-set. Pauses, schedules, limiter levels
 * and the manifest live here, so that a broker without a store of its own can be paired with any engine that
 * has one.
 */
import type { EpochMs } from '../clock.js';
import type { TaskId } from '../task/task.js';

export interface Fact {
  readonly value: Uint8Array;
  /** Grows with each write of this key, from 1. */
  readonly version: number;
}

export interface ListedFact {
  readonly key: string;
  readonly fact: Fact;
}

export interface PutCondition {
  /** Only when the key has this version now; 0 means that it must be absent. */
  readonly ifVersion?: number;
  /** The fact vanishes at this instant. */
  readonly expiresAt?: EpochMs;
}

/** A fact that is written together with the tasks of an `enqueue`, in the same transaction. */
export interface FactChange {
  readonly key: string;
  /** Only when the key has this version now; 0 means that it must be absent. */
  readonly ifVersion?: number;
  /**
   * The value, once the ids of the tasks are known, in their order. Pure; called more than once, and of the
   * same length each time.
   */
  value(ids: readonly TaskId[]): Uint8Array;
}

/** Keys are 1 to 512 characters. Values are at most 1 MiB. */
export interface KeyValue {
  get(key: string): Promise<Fact | undefined>;
  /** Resolves flushed with the new version, or with `undefined` when the condition did not hold. */
  put(key: string, value: Uint8Array, condition?: PutCondition): Promise<number | undefined>;
  /** Resolves flushed with whether something was removed. */
  delete(key: string, ifVersion?: number): Promise<boolean>;
  /** Keys that begin with `prefix`, in byte order after `after`; at most `limit` (1 to 1,000). */
  list(prefix: string, limit: number, after?: string): Promise<readonly ListedFact[]>;
}
