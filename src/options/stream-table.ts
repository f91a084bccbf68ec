/** The options of `map`, `writable` and `transform`: one row each, as in the other tables. */
import { type FieldsOf, field, flag, hosted, number, type Rule } from './rule.js';
import { checkObject } from './shape.js';
import { abortSignal, ENQUEUE_FIELDS, TASK_FIELDS } from './task-table.js';
import type { MapOptions, TransformOptions, WritableOptions } from './types.js';

const MAX_CONCURRENCY = 100_000;

// One key for all of them would be one task, buffers can be moved once, and there is a signal for all.
const { unique: _unique, transfer: _transfer, signal: _signal, ...OF_EACH } = ENQUEUE_FIELDS;
const ofEach: Rule = {
  type: 'EnqueueOptions',
  expected: 'a plain object',
  check: (given, at) => checkObject({ ...TASK_FIELDS, ...OF_EACH }, given, at),
};

const inFlight = hosted(
  number({ min: 1, max: MAX_CONCURRENCY, unit: 'tasks' }),
  '64 × threads',
  'Items between source and consumer: in flight, or finished and not taken.',
);
const options = field(ofEach, undefined, "Of each task's enqueue; it waits where nothing else is said.");
const signal = field(abortSignal, undefined, 'Ends it when aborted; what is in flight is cancelled.');
const ordered = field(flag, true, 'Results in the order of the items, else as they come.');
const web = field(flag, false, 'A Web stream instead of one of Node.');

export const MAP_FIELDS = { concurrency: inFlight, ordered, options, signal } satisfies FieldsOf<MapOptions>;

export const TRANSFORM_FIELDS = {
  ...{ concurrency: inFlight, ordered, options, signal, web },
} satisfies FieldsOf<TransformOptions>;

export const WRITABLE_FIELDS = {
  concurrency: { ...inFlight, meaning: 'Tasks that are on their way to be accepted.' },
  options,
  signal: field(abortSignal, undefined, 'Destroys the stream when aborted; accepted tasks stay.'),
  web,
} satisfies FieldsOf<WritableOptions>;
