/**
 * What callers may say when they look for tasks, checked once at the edge. A misspelt key is refused: a
 * filter that silently named every task would be the wrong way round for `cancel` and `delete`.
 */
import { MAX_STAGED_TASKS, NO_UNIQUE_IN_STAGE } from '../broker/broker.js';
import type { TaskFilter } from '../broker/inspect.js';
import { InvalidArgumentError, UnknownOptionError, UnsupportedError } from '../errors.js';
import { choice, type FieldsOf, field, list, name, number, text } from '../options/rule.js';
import { checkObject, nearestOption, plainObject } from '../options/shape.js';
import type { EnqueueOptions } from '../options/types.js';
import { TASK_STATES } from '../task/task.js';
import { EVENT_KINDS, type EventFilter } from './events.js';

/** Where a page begins and how long it is. */
export interface PageRequest {
  /** 1 to 1,000; default 100. */
  readonly limit?: number;
  /** From the page before. */
  readonly after?: string;
}

const MAX_EVENTS_KEPT = 1_000_000;
const MAX_CURSOR_CHARS = 1_000;

const FILTER_FIELDS = {
  state: field(choice(TASK_STATES), undefined, 'The state tasks are in.'),
  queue: field(name('queue'), undefined, 'The queue tasks are in.'),
  name: field(name('task'), undefined, 'The name tasks have.'),
} satisfies FieldsOf<TaskFilter>;

const PAGE_FIELDS = {
  limit: field(number({ min: 1, max: 1_000, unit: 'tasks' }), 100, 'The most tasks of a page.'),
  after: field(text(MAX_CURSOR_CHARS), undefined, 'Where the page before ended.'),
} satisfies FieldsOf<PageRequest>;

const EVENT_FIELDS = {
  kinds: field(list(choice(EVENT_KINDS), EVENT_KINDS.length), undefined, 'Kinds of events; by default all.'),
  queue: field(name('queue'), undefined, 'Events of tasks of this queue.'),
  name: field(name('task'), undefined, 'Events of tasks of this name.'),
  taskId: field(text(100), undefined, 'Events of this task.'),
  bound: field(number({ min: 1, max: MAX_EVENTS_KEPT }), 1_000, 'Events kept for a slow listener.'),
} satisfies FieldsOf<EventFilter>;

const ITEM_KEYS: readonly string[] = ['name', 'payload', 'options'];

/** @throws {UnknownOptionError} {@link InvalidArgumentError} {@link InvalidNameError} */
export function checkFilter(filter: unknown): TaskFilter {
  return checkObject(FILTER_FIELDS, filter, 'filter') as TaskFilter;
}

/** @throws as {@link checkFilter} */
export function checkPage(page: unknown): PageRequest & { readonly limit: number } {
  return checkObject(PAGE_FIELDS, page, 'page', PAGE_FIELDS) as unknown as PageRequest & { limit: number };
}

/** @throws as {@link checkFilter} */
export function checkEventFilter(filter: unknown): EventFilter & { readonly bound: number } {
  const checked = checkObject(EVENT_FIELDS, filter, 'filter', EVENT_FIELDS);
  return checked as unknown as EventFilter & { bound: number };
}

/** One `{ name, payload, options }` of a batch. @throws as {@link checkFilter} */
export function checkItem(item: unknown, index: number): void {
  const at = `batch[${index}]`;
  for (const key of Object.keys(plainObject(item, at))) {
    if (!ITEM_KEYS.includes(key)) {
      throw new UnknownOptionError(`${at}.${key}`, nearestOption(key, ITEM_KEYS), ITEM_KEYS);
    }
  }
}

/** @throws {InvalidArgumentError} when it is not an array, or has more than 10,000,000 tasks. */
export function checkBatch(batch: unknown): void {
  if (!Array.isArray(batch)) {
    throw new InvalidArgumentError('batch', 'an array of { name, payload, options }', batch);
  }
  if (batch.length > MAX_STAGED_TASKS) {
    throw new InvalidArgumentError('batch', `at most ${MAX_STAGED_TASKS} tasks`, batch.length);
  }
}

/** What only a batch that fits one commit may have; refused before anything is stored. */
export function checkLargeBatch(batch: readonly { readonly options?: EnqueueOptions }[]): void {
  if (batch.some((item) => item?.options?.unique !== undefined)) {
    throw new UnsupportedError('unique keys in large batches', NO_UNIQUE_IN_STAGE);
  }
}
