/**
 * What a tasks module means to the compiler: the shapes that `millrace/task` gives to handlers, and the
 * derivation of names, payloads and results from `typeof tasks`. Types, and the two symbols by which a
 * definition is known.
 */

import type { ParentOutcome, ParentResults } from './parents.js';
import type { FireOf, TaskId } from './task.js';
import type { DefinedOptions } from './task-options.js';

/**
 * What a handler gets as its second argument. Its members may be taken out: `(payload, { log, signal }) =>
 * …`.
 */
export interface TaskContext<App = unknown, HostServices = Services> {
  readonly taskId: TaskId;
  readonly name: string;
  /** From 1. */
  readonly attempt: number;
  /** The schedule that made this task, and for when; `undefined` when none did. */
  readonly schedule: FireOf | undefined;
  /**
   * Aborts at the deadline, on cancel and on stop. Needs a turn of the thread's event loop to fire: see
   * `isAborted`.
   */
  readonly signal: AbortSignal;
  /** Whether to stop now; true at once, also inside a busy loop. Costs some nanoseconds. */
  isAborted(): boolean;
  /** What the module's `setup` returned as `app`, one per thread or child process. */
  readonly app: App;
  /**
   * Objects of the host, called over a port: every function is async here and gets a `ServiceCall` first
   * there.
   */
  readonly services: RemoteServices<HostServices>;
  /**
   * Says how far the task is, with any value that could be a payload. At most ten a second are sent; the last
   * one is kept with the outcome.
   */
  progress(value: unknown): void;
  /** Keeps a line with the attempt: at most 100 lines of 2 KiB, then only a count of those dropped. */
  log(message: string): void;
  /** Gives up `list` together with `value`, which is to be the handler's result: large buffers then move. */
  transfer<Value>(value: Value, list: readonly ArrayBuffer[]): Value;
  /**
   * Puts the task off without using up an attempt: `return context.snooze(5_000)`. It counts also if the
   * `return` is forgotten; only an error thrown later takes its place.
   * @param ms  Whole milliseconds from 0 to 31,536,000,000 (a year).
   */
  snooze(ms: number): Snooze;
  /** Enqueues at once, whatever becomes of this task; resolves with the id. */
  enqueue(name: string, payload: unknown, options: EnqueueNowOptions): Promise<TaskId>;
  /**
   * Enqueues together with this task's completion, in the same commit; nothing is enqueued when it fails.
   * With `inFlow: true` the new task belongs to the flow of this one, and what waits for this task waits for
   * it too; without a flow it is an enqueue like any other.
   */
  enqueue(name: string, payload: unknown, options?: Readonly<Record<string, unknown>>): void;
  /**
   * The results of the tasks that this one has waited for, under one label of its flow and in the order given
   * there: `for await (const page of context.parents('pages'))`. They are fetched as they are read, some at a
   * time.
   * @throws (rejects) {InvalidArgumentError} when the task has no such label · {@link TaskDeadError}
   *   {@link TaskCancelledError} at a parent that ended so, which only `whenParentDies: 'run'` lets happen.
   */
  parents<Result = unknown>(label: string, options?: { readonly outcomes?: false }): ParentResults<Result>;
  /** How each of them ended, whatever that was. */
  parents<Result = unknown>(
    label: string,
    options: { readonly outcomes: true },
  ): ParentResults<ParentOutcome<Result>>;
}

/** `context.enqueue` at once, not together with the result; beside it, the options of `enqueue`. */
export interface EnqueueNowOptions {
  readonly now: true;
  readonly [option: string]: unknown;
}

/** What `context.snooze` returns; no other value is taken for one. */
export interface Snooze {
  readonly [SNOOZE]: number;
}
declare const SNOOZE: unique symbol;

export type Services = Readonly<Record<string, unknown>>;

/** First argument of every function of the host that is called through `context.services`. */
export interface ServiceCall {
  readonly taskId: TaskId;
  /** Aborts when the task is aborted or ends, and when its thread dies. */
  readonly signal: AbortSignal;
}

/** The services as a handler sees them. */
export type RemoteServices<HostServices> = {
  readonly [Key in keyof HostServices]: HostServices[Key] extends (
    call: ServiceCall,
    ...args: infer Args
  ) => infer Returned
    ? (...args: Args) => Promise<Awaited<Returned>>
    : HostServices[Key] extends object
      ? RemoteServices<HostServices[Key]>
      : // biome-ignore lint/suspicious/noExplicitAny: services that were not typed can be called in any way
        any;
};

/** A handler as the user writes it. */
export type Handler<Payload, Result, App = unknown> = (
  payload: Payload,
  context: TaskContext<App>,
) => Result | Promise<Result>;

/**
 * Where `task()` keeps what was defined; a global symbol, so that two copies of the package understand each
 * other.
 */
export const TASK: unique symbol = Symbol.for('millrace.task') as never;
export const SETUP: unique symbol = Symbol.for('millrace.setup') as never;

/** What `task()` returns: the handler itself, which may be called in tests, with its definition. */
export interface Task<Payload, Result, Name extends string = string> {
  // biome-ignore lint/suspicious/noExplicitAny: a test passes whatever context its handler needs
  (payload: Payload, context?: any): Result | Promise<Result>;
  readonly [TASK]: TaskDefinition & { readonly name?: Name };
}

export interface TaskDefinition {
  readonly handler: (payload: never, context: never) => unknown;
  readonly name?: string;
  readonly schema?: StandardSchema;
  readonly options: DefinedOptions;
}

/** What `setup()` returns. */
export interface Setup<App = unknown> {
  readonly [SETUP]: StartApp<App>;
}
/** Prepares a thread, or a child process, before its first task. */
export type StartApp<App> = () => StartedApp<App> | Promise<StartedApp<App>>;
/** What a `setup` function returns. */
export interface StartedApp<App> {
  readonly app: App;
  /** Called when the thread is retired or the runtime stops; not when the thread is terminated. */
  readonly stop?: (app: App) => unknown;
}

/** The part of Standard Schema (version 1) that is used; the libraries' schemas fit it. */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };
export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/**
 * Name to payload and result of every handler that a module exports: `task()` and plain functions, but not
 * classes, `default`, setups, and names that begin with `_`. A pattern `images.*` becomes the key
 * `images.${string}`.
 */
export type TasksOf<Module> = {
  [Export in keyof Module as HandlerName<Module[Export], Export>]: SignatureOf<Module[Export]>;
};
/** The payload of one task of {@link TasksOf}. */
export type PayloadOf<Tasks, Name extends keyof Tasks> = Tasks[Name] extends { payload: infer P } ? P : never;
/** The result of one task of {@link TasksOf}. */
export type ResultOf<Tasks, Name extends keyof Tasks> = Tasks[Name] extends { result: infer R } ? R : never;

type HandlerName<Value, Export> = Export extends 'default' | `_${string}`
  ? never
  : Value extends { readonly [TASK]: { readonly name?: infer Name extends string } }
    ? string extends Name
      ? Export
      : PatternKey<Name>
    : Value extends abstract new (
          ...args: never
        ) => unknown
      ? never
      : Value extends (...args: never) => unknown
        ? Export
        : never;

type PatternKey<Name extends string> = Name extends `${infer Prefix}*` ? `${Prefix}${string}` : Name;

type SignatureOf<Value> = Value extends (...args: infer Args) => infer Returned
  ? {
      payload: Args extends readonly [] ? undefined : Args[0];
      result: Exclude<Awaited<Returned>, Snooze>;
    }
  : never;
