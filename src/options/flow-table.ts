/** The options of flows and of their tasks; see `task-table.ts`. */
import type { FlowOptions, FlowTaskOptions } from '../flow/types.js';
import { type ParentsOptions, WHEN_PARENT_DIES } from '../task/parents.js';
import { choice, type FieldsOf, field, flag, name, value } from './rule.js';
import { object } from './shape.js';
import { RETENTION_FIELDS } from './task-table.js';
import type { EnqueueOptions } from './types.js';

export const FLOW_FIELDS = {
  name: field(name('flow'), undefined, 'What the flow is called in lists.'),
  retentionMs: field(
    object(RETENTION_FIELDS),
    undefined,
    'How long the flow and its tasks are kept after its end, by how it ended.',
  ),
} satisfies FieldsOf<FlowOptions>;

/** What a task in a flow takes beside those of `task` and `enqueue` but `transfer` and `retentionMs`. */
export const FLOW_TASK_FIELDS = {
  after: field(
    value(
      'Record<label, parents>',
      'an object of parents by their labels',
      (given) => typeof given === 'object' && given !== null && !Array.isArray(given),
    ),
    undefined,
    'What the task waits for: steps of the flow, or handles or ids of tasks enqueued earlier.',
  ),
  whenParentDies: field(
    choice(WHEN_PARENT_DIES),
    'fail',
    'When a parent is dead or cancelled: be dead too, run with the outcomes, or wait for its redrive.',
  ),
} satisfies FieldsOf<Omit<FlowTaskOptions, keyof EnqueueOptions>>;

export const PARENTS_FIELDS = {
  outcomes: field(flag, false, 'Yields how each parent ended instead of its result.'),
} satisfies FieldsOf<ParentsOptions>;
