/**
 * The rules of one task: what its enqueue says, over its definition, over its queue, over the table's
 * defaults. Runs on every enqueue and claim, on options that were checked before; it checks nothing.
 */
import {
  type BackoffPolicy,
  PRIORITY_NAMES,
  type PriorityName,
  type ResolvedOptions,
  type RetentionMs,
  type TaskOptions,
} from '../task/task-options.js';
import { BACKOFF_FIELDS, RETENTION_FIELDS, TASK_FIELDS } from './task-table.js';

/** The rules of a task about which nobody said anything. */
export const DEFAULT_RULES: ResolvedOptions = Object.freeze({
  maxAttempts: TASK_FIELDS.maxAttempts.default,
  timeoutMs: TASK_FIELDS.timeoutMs.default,
  killGraceMs: TASK_FIELDS.killGraceMs.default,
  backoff: Object.freeze({
    kind: BACKOFF_FIELDS.kind.default,
    baseMs: BACKOFF_FIELDS.baseMs.default,
    factor: BACKOFF_FIELDS.factor.default,
    capMs: BACKOFF_FIELDS.capMs.default,
    jitter: BACKOFF_FIELDS.jitter.default,
  }),
  notRetryable: Object.freeze(TASK_FIELDS.notRetryable.default),
  maxCrashes: TASK_FIELDS.maxCrashes.default,
  isolation: TASK_FIELDS.isolation.default,
  retentionMs: Object.freeze({
    completed: RETENTION_FIELDS.completed.default,
    dead: RETENTION_FIELDS.dead.default,
    cancelled: RETENTION_FIELDS.cancelled.default,
  }),
  cost: TASK_FIELDS.cost.default,
});

/** The level, 0 to 9, of a checked priority. */
export function levelOf(
  priority: number | PriorityName | undefined,
  fallback: number = TASK_FIELDS.priority.default,
): number {
  if (priority === undefined) return fallback;
  return typeof priority === 'number' ? priority : PRIORITY_NAMES[priority];
}

/**
 * Lays checked options over each other, `own` (of one enqueue) over `definition` over `queue` over the
 * defaults. `backoff` and `retentionMs` are merged key by key; `notRetryable` is replaced as a whole.
 *
 * @returns  Not to be changed; without any layer always the same object.
 */
export function resolveOptions(
  definition?: TaskOptions,
  queue?: TaskOptions,
  own?: TaskOptions,
): ResolvedOptions {
  const layers = [queue, definition, own].filter((layer) => layer !== undefined);
  if (layers.length === 0) return DEFAULT_RULES;
  const last = <Key extends keyof TaskOptions & keyof ResolvedOptions>(key: Key) =>
    own?.[key] ?? definition?.[key] ?? queue?.[key];
  return {
    maxAttempts: last('maxAttempts') ?? DEFAULT_RULES.maxAttempts,
    timeoutMs: last('timeoutMs') ?? DEFAULT_RULES.timeoutMs,
    killGraceMs: last('killGraceMs') ?? DEFAULT_RULES.killGraceMs,
    backoff: resolveBackoff(layers),
    notRetryable: last('notRetryable') ?? DEFAULT_RULES.notRetryable,
    maxCrashes: last('maxCrashes') ?? DEFAULT_RULES.maxCrashes,
    isolation: last('isolation') ?? DEFAULT_RULES.isolation,
    retentionMs: resolveRetention(layers),
    cost: last('cost') ?? DEFAULT_RULES.cost,
  };
}

/**
 * A layer that gives a `baseMs` above the cap of the layers under it, and no cap, raises the cap to it: who
 * asks for ten minutes gets ten minutes. A cap in the same layer or over it counts as given.
 */
function resolveBackoff(layers: readonly TaskOptions[]): Required<BackoffPolicy> {
  let merged = DEFAULT_RULES.backoff;
  for (const { backoff } of layers) {
    if (backoff === undefined) continue;
    const capMs = backoff.capMs ?? Math.max(merged.capMs, backoff.baseMs ?? 0);
    merged = { ...merged, ...backoff, capMs };
  }
  return merged;
}

function resolveRetention(layers: readonly TaskOptions[]): RetentionMs {
  let merged = DEFAULT_RULES.retentionMs;
  for (const { retentionMs } of layers) {
    if (retentionMs !== undefined) merged = { ...merged, ...retentionMs };
  }
  return merged;
}
