/**
 * The edge at which every option is checked, once: inside, options are known to be sound and are never looked
 * at again. Unknown names throw and name the right one; the copies are frozen. The rows behind it are in
 * `options/task-table.ts` and `options/runtime-table.ts`, no default is anywhere else.
 *
 * Light: imported by the worker threads, so it imports errors, types and the names of the priorities only.
 */
import { InvalidArgumentError } from './errors.js';
import type { FlowOptions, FlowTaskOptions } from './flow/types.js';
import { FLOW_FIELDS, FLOW_TASK_FIELDS, PARENTS_FIELDS } from './options/flow-table.js';
import { DEFINITION_FIELDS } from './options/limit-table.js';
import type { Fields } from './options/rule.js';
import {
  CLIENT_FIELDS,
  RESULT_FIELDS,
  RUN_FIELDS,
  RUNTIME_FIELDS,
  STOP_FIELDS,
} from './options/runtime-table.js';
import { checkRuleObject, checkScheduleObject, SCHEDULE_FIELDS } from './options/schedule-table.js';
import type { CheckedRule, CheckedScheduleOptions } from './options/schedule-types.js';
import { checkObject } from './options/shape.js';
import { MAP_FIELDS, TRANSFORM_FIELDS, WRITABLE_FIELDS } from './options/stream-table.js';
import { ENQUEUE_FIELDS, TASK_FIELDS } from './options/task-table.js';
import type {
  CheckedClientOptions,
  CheckedEnqueueOptions,
  CheckedResultOptions,
  CheckedRunOptions,
  CheckedTransformOptions,
  HostDefaults,
  RuntimeOptions,
  StopOptions,
} from './options/types.js';
import type { ParentsOptions } from './task/parents.js';
import { type DefinedOptions, PRIORITY_NAMES, type TaskOptions } from './task/task-options.js';

export { validateLimitRule, validateLimitScope } from './options/limit-check.js';
export { DEFAULT_RULES, levelOf, resolveOptions } from './options/resolve.js';
export { checkName } from './options/rule.js';
export type * from './options/types.js';

const ALL_DEFINITION_FIELDS: Fields = { ...TASK_FIELDS, ...DEFINITION_FIELDS };
const ALL_ENQUEUE_FIELDS: Fields = { ...TASK_FIELDS, ...ENQUEUE_FIELDS };
const ALL_RUN_FIELDS: Fields = { ...ALL_ENQUEUE_FIELDS, ...RUN_FIELDS };
const ALL_FLOW_TASK_FIELDS: Fields = { ...ALL_ENQUEUE_FIELDS, ...FLOW_TASK_FIELDS };
const NONE: Readonly<Record<never, never>> = Object.freeze({});

/** The answers to `{ priority }` alone, made once: most enqueues say nothing else. */
const BY_PRIORITY: ReadonlyMap<unknown, CheckedEnqueueOptions> = new Map(
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...(Object.keys(PRIORITY_NAMES) as (keyof typeof PRIORITY_NAMES)[])].map(
    (priority) => [priority, Object.freeze({ priority })],
  ),
);

/**
 * Checks the options of a task's definition. Absent ones stay absent, so that layers can be laid over each
 * other.
 *
 * @param where  What the options are called in messages, for example `options`.
 * @throws {UnknownOptionError} `ERR_MILLRACE_UNKNOWN_OPTION`
 * @throws {InvalidArgumentError} `ERR_MILLRACE_INVALID_ARGUMENT`
 * @throws {InvalidNameError} `ERR_MILLRACE_INVALID_NAME` for a queue or codec.
 */
export function validateTaskOptions(options: unknown, where: string): DefinedOptions {
  return options === undefined
    ? NONE
    : (checkObject(ALL_DEFINITION_FIELDS, options, where) as DefinedOptions);
}

/**
 * Checks the options of one enqueue. Absent ones stay absent.
 *
 * @throws as {@link validateTaskOptions}
 */
export function validateEnqueueOptions(options: unknown, where: string): CheckedEnqueueOptions {
  if (options === undefined) return NONE;
  return priorityOnly(options) ?? checkTimes(checkObject(ALL_ENQUEUE_FIELDS, options, where), where);
}

/**
 * Checks the options of `run`: those of an enqueue, `signal` and `waitMs`.
 *
 * @throws as {@link validateTaskOptions}
 */
export function validateRunOptions(options: unknown, where: string): CheckedRunOptions {
  const checked = checkObject(ALL_RUN_FIELDS, given(options), where, RUN_FIELDS);
  return checkTimes(checked, where) as CheckedRunOptions;
}

/** Checks the options of `handle.result`. @throws as {@link validateTaskOptions} */
export function validateResultOptions(options: unknown, where: string): CheckedResultOptions {
  return checkObject(RESULT_FIELDS, given(options), where, RESULT_FIELDS) as unknown as CheckedResultOptions;
}

const STREAM_FIELDS = { map: MAP_FIELDS, writable: WRITABLE_FIELDS, transform: TRANSFORM_FIELDS };

/** Checks the options of `map`, `writable` or `transform`. @throws as {@link validateTaskOptions} */
export function validateStreamOptions(
  of: keyof typeof STREAM_FIELDS,
  options: unknown,
  where: string,
): CheckedTransformOptions {
  const fields = STREAM_FIELDS[of];
  return checkObject(fields, given(options), where, fields) as unknown as CheckedTransformOptions;
}

/** Checks the options of `stop`. @throws as {@link validateTaskOptions} */
export function validateStopOptions(options: unknown, where: string): Required<StopOptions> {
  return checkObject(STOP_FIELDS, given(options), where, STOP_FIELDS) as unknown as Required<StopOptions>;
}

/** Checks the values of a schedule's rule. @throws as {@link validateTaskOptions} */
export function validateRule(rule: unknown, where: string): CheckedRule {
  return checkRuleObject(rule, where) as unknown as CheckedRule;
}

/**
 * Checks the options of a schedule, which are those of its tasks as well, and completes the former.
 *
 * @throws as {@link validateTaskOptions}
 */
export function validateScheduleOptions(options: unknown, where: string): CheckedScheduleOptions {
  const checked = Object.entries(checkScheduleObject(given(options), where));
  const isOfPlan = ([key]: readonly [string, unknown]): boolean => Object.hasOwn(SCHEDULE_FIELDS, key);
  const plan = Object.fromEntries(checked.filter(isOfPlan));
  const rest = Object.fromEntries(checked.filter((entry) => !isOfPlan(entry)));
  return { plan: plan as unknown as CheckedScheduleOptions['plan'], options: rest };
}

/** Checks the options of `flow`. @throws as {@link validateTaskOptions} */
export function validateFlowOptions(options: unknown, where: string): FlowOptions {
  return checkObject(FLOW_FIELDS, given(options), where) as FlowOptions;
}

/**
 * Checks the options of a task in a flow; of `after` only that it is an object. Absent ones stay absent.
 *
 * @throws as {@link validateTaskOptions}
 */
export function validateFlowTaskOptions(
  options: unknown,
  where: string,
): CheckedEnqueueOptions & Pick<FlowTaskOptions, 'after' | 'whenParentDies'> {
  if (options === undefined) return NONE;
  const checked = checkTimes(checkObject(ALL_FLOW_TASK_FIELDS, options, where), where);
  if (checked.transfer !== undefined) {
    throw new InvalidArgumentError(`${where}.transfer`, 'absent: payloads of a flow are copied');
  }
  if (checked.retentionMs !== undefined) {
    throw new InvalidArgumentError(`${where}.retentionMs`, 'given for the flow: its tasks are kept as long');
  }
  return checked;
}

/** Checks the options of `context.parents`. @throws as {@link validateTaskOptions} */
export function validateParentsOptions(options: unknown, where: string): Required<ParentsOptions> {
  return checkObject(PARENTS_FIELDS, given(options), where, PARENTS_FIELDS) as Required<ParentsOptions>;
}

/**
 * Checks the options of `openRuntime` and completes them.
 *
 * @param host  Defaults that are not data.
 * @throws as {@link validateTaskOptions}
 */
export function validateRuntimeOptions(options: unknown, host: HostDefaults): RuntimeOptions {
  const checked = checkObject(
    RUNTIME_FIELDS,
    options,
    'options',
    RUNTIME_FIELDS,
  ) as unknown as RuntimeOptions;
  return Object.freeze({
    ...checked,
    threads: checked.threads ?? host.threads(),
    logger: checked.logger ?? host.logger,
    clock: checked.clock ?? host.clock,
  });
}

/** Checks the options of `openClient` and completes them. @throws as {@link validateTaskOptions} */
export function validateClientOptions(
  options: unknown,
  host: Omit<HostDefaults, 'threads'>,
): CheckedClientOptions {
  const checked = checkObject(CLIENT_FIELDS, options, 'options', CLIENT_FIELDS);
  return Object.freeze({ ...host, ...checked }) as unknown as CheckedClientOptions;
}

/** Absent options are none; `null` is not absent. */
function given(options: unknown): unknown {
  return options === undefined ? NONE : options;
}

/** The short way: `undefined` when there is more to check than a priority. */
function priorityOnly(options: unknown): CheckedEnqueueOptions | undefined {
  if (typeof options !== 'object' || options === null) return undefined;
  if (Object.getPrototypeOf(options) !== Object.prototype) return undefined;
  for (const key in options) if (key !== 'priority') return undefined;
  return Object.hasOwn(options, 'priority') ? BY_PRIORITY.get((options as TaskOptions).priority) : NONE;
}

/** What two options say together. */
function checkTimes(checked: CheckedEnqueueOptions, where: string): CheckedEnqueueOptions {
  const { delayMs, runAt, staleAt } = checked;
  if (delayMs !== undefined && runAt !== undefined) {
    throw new InvalidArgumentError(`${where}.runAt`, 'absent where delayMs is given');
  }
  if (runAt !== undefined && staleAt !== undefined && staleAt < runAt) {
    throw new InvalidArgumentError(`${where}.staleAt`, `at or after runAt (${runAt})`, staleAt);
  }
  return checked;
}
