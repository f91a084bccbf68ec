/**
 * The light entry `millrace/task`, for modules that worker threads load: no storage, no pool, nothing
 * started.
 */

import { InvalidArgumentError } from './errors.js';
import { checkName, validateTaskOptions } from './options.js';
import {
  type Handler,
  SETUP,
  type Setup,
  type StandardSchema,
  type StartApp,
  TASK,
  type Task,
} from './task/define-types.js';
import type { DefinedOptions } from './task/task-options.js';

export type {
  EnqueueNowOptions,
  Handler,
  ServiceCall,
  Setup,
  Snooze,
  StandardSchema,
  StartedApp,
  Task,
  TaskContext,
} from './task/define-types.js';
export type { DefinedOptions, TaskOptions } from './task/task-options.js';

/** What `task()` takes beside the options that are stored with a task. */
export interface TaskModuleOptions<Name extends string = string, Payload = unknown> extends DefinedOptions {
  /**
   * Another name than that of the export: a name, or a pattern with one trailing `*` that takes every name
   * with this beginning. An exact name wins over a pattern, and a longer pattern over a shorter one.
   */
  readonly name?: Name;
  /**
   * Checked in the worker before the handler; a payload that fails it is dead at once (`invalid-payload`).
   */
  readonly schema?: StandardSchema<Payload>;
}

/**
 * Defines a task: a handler with options of its own. A plain exported function is a task with the defaults.
 *
 * The handler may run more than once for the same task (at-least-once): `context.taskId` is the key to make
 * effects idempotent.
 * @throws {InvalidArgumentError} {@link UnknownOptionError} {@link InvalidNameError} at once, when the module
 * loads.
 */
// biome-ignore lint/suspicious/noExplicitAny: `any` lets the handler name its own App
export function task<Payload, Result, const Name extends string = string, App = any>(
  handler: Handler<Payload, Result, App>,
  options: TaskModuleOptions<Name, NoInfer<Payload>> = {},
): Task<Payload, Result, Name> {
  if (typeof handler !== 'function') throw new InvalidArgumentError('handler', 'a function', handler);
  const { name, schema, ...rest } = options;
  if (name !== undefined) checkHandlerName(name);
  if (schema !== undefined && typeof schema?.['~standard']?.validate !== 'function') {
    throw new InvalidArgumentError(
      'options.schema',
      'a Standard Schema (an object with "~standard")',
      schema,
    );
  }
  const definition = {
    handler,
    ...(name === undefined ? {} : { name }),
    ...(schema === undefined ? {} : { schema }),
    options: validateTaskOptions(rest, 'options'),
  };
  const callable: Handler<Payload, Result, App> = (payload, context) => handler(payload, context);
  return Object.freeze(Object.assign(callable, { [TASK]: Object.freeze(definition) })) as never;
}

/**
 * Prepares each thread before its first task: opens connections, loads a model. Export what it returns, under
 * any name; one per module. Handlers of the same module get `app` as `context.app`.
 */
export function setup<App>(start: StartApp<App>): Setup<App> {
  if (typeof start !== 'function') throw new InvalidArgumentError('start', 'a function', start);
  return Object.freeze({ [SETUP]: start });
}

/** Thrown by a handler when another attempt would be pointless: the task is dead at once. */
export class NotRetryableError extends Error {
  readonly code: string = 'ERR_NOT_RETRYABLE';
  /** What makes it so; any error with an own `retryable: false` has the same effect. */
  readonly retryable = false;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A name, or a pattern with one trailing `*`. */
function checkHandlerName(name: unknown): void {
  if (name === '*') return;
  checkName('task', typeof name === 'string' && name.endsWith('*') ? name.slice(0, -1) : name);
}
