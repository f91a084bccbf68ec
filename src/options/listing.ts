/** Every option as a row, for the README and whoever lists options. Checks nothing. */
import { FLOW_FIELDS, FLOW_TASK_FIELDS, PARENTS_FIELDS } from './flow-table.js';
import { DEFINITION_FIELDS, LIMITS_FIELDS, TASK_LIMITS_FIELDS } from './limit-table.js';
import type { Field, Fields } from './rule.js';
import {
  CLIENT_FIELDS,
  HOOK_FIELDS,
  RESULT_FIELDS,
  RUN_FIELDS,
  RUNTIME_FIELDS,
  STOP_FIELDS,
} from './runtime-table.js';
import { RULE_FIELDS, SCHEDULE_FIELDS } from './schedule-table.js';
import { MAP_FIELDS, TRANSFORM_FIELDS, WRITABLE_FIELDS } from './stream-table.js';
import { ENQUEUE_FIELDS, QUEUE_FIELDS, TASK_FIELDS } from './task-table.js';

export type OptionGroup =
  | 'runtime'
  | 'client'
  | 'queue'
  | 'hook'
  | 'limits'
  | 'limit'
  | 'definition'
  | 'task'
  | 'enqueue'
  | 'run'
  | 'result'
  | 'map'
  | 'writable'
  | 'transform'
  | 'stop'
  | 'rule'
  | 'schedule'
  | 'flow'
  | 'flowTask'
  | 'parents';

/** One option, as the README shows it. */
export interface OptionRow {
  /** Within its group, for example `backoff.baseMs`. */
  readonly path: string;
  readonly type: string;
  readonly unit?: string;
  readonly bounds?: string;
  readonly isRequired: boolean;
  /** `undefined` is: absent by default. */
  readonly default: unknown;
  /** Words for a default that depends on the host. */
  readonly shownDefault?: string;
  /** One sentence. */
  readonly meaning: string;
}

/**
 * Every option there is. `queue`, `enqueue` and `definition` list what they take beside the options of
 * `task` (a queue takes no `queue`), `run`, `flowTask` and `schedule` what they take beside those of
 * `enqueue`; `hook` is one entry of the runtime's `hooks`, `limit` one of its `limits.tasks`, and `rule` says
 * when a schedule fires.
 */
export const OPTION_TABLE: Readonly<Record<OptionGroup, readonly OptionRow[]>> = Object.freeze({
  runtime: rowsOf(RUNTIME_FIELDS),
  client: rowsOf(CLIENT_FIELDS),
  queue: rowsOf(QUEUE_FIELDS),
  hook: rowsOf(HOOK_FIELDS),
  limits: rowsOf(LIMITS_FIELDS),
  limit: rowsOf(TASK_LIMITS_FIELDS),
  definition: rowsOf(DEFINITION_FIELDS),
  task: rowsOf(TASK_FIELDS),
  enqueue: rowsOf(ENQUEUE_FIELDS),
  run: rowsOf(RUN_FIELDS),
  result: rowsOf(RESULT_FIELDS),
  map: rowsOf(MAP_FIELDS),
  writable: rowsOf(WRITABLE_FIELDS),
  transform: rowsOf(TRANSFORM_FIELDS),
  stop: rowsOf(STOP_FIELDS),
  rule: rowsOf(RULE_FIELDS),
  schedule: rowsOf(SCHEDULE_FIELDS),
  flow: rowsOf(FLOW_FIELDS),
  flowTask: rowsOf(FLOW_TASK_FIELDS),
  parents: rowsOf(PARENTS_FIELDS),
});

function rowsOf(fields: Fields, prefix = ''): readonly OptionRow[] {
  return Object.freeze(
    Object.entries(fields).flatMap(([key, field]) => [
      rowOf(`${prefix}${key}`, field),
      ...rowsOf(field.rule.fields ?? {}, `${prefix}${key}.`),
    ]),
  );
}

function rowOf(path: string, field: Field): OptionRow {
  const { rule, default: fallback, shownDefault, meaning } = field;
  return Object.freeze({
    path,
    type: rule.type,
    ...(rule.unit === undefined ? {} : { unit: rule.unit }),
    ...(rule.bounds === undefined ? {} : { bounds: rule.bounds }),
    isRequired: field.isRequired === true,
    default: fallback,
    ...(shownDefault === undefined ? {} : { shownDefault }),
    meaning,
  });
}
