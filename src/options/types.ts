/**
 * The shapes of all options: as users give them, and as they are after their check (`Checked…`,
 * `RuntimeOptions`). Bounds and defaults are in the tables; what is said here is only what each option is
 * for.
 */
import type { Clock, EpochMs } from '../clock.js';
import type { Logger } from '../logger.js';
import type { Codec } from '../task/codec.js';
import type { StandardSchema } from '../task/define-types.js';
import type { CheckedLimits, LaneRule, LimitRule, TaskLimits } from '../task/limit-rule.js';
import type { StoredError } from '../task/stored-error.js';
import type { UniqueKey, WhenFull } from '../task/task.js';
import type { TaskOptions } from '../task/task-options.js';
import type { CalendarFunction } from './schedule-types.js';

export type * from './stream-types.js';

/** What may be said of one enqueue beside the task's own options. */
export interface EnqueueOptions extends TaskOptions {
  /** Not before this many milliseconds from now. Not together with `runAt`. */
  readonly delayMs?: number;
  /** Not before this instant; a past one is at once. */
  readonly runAt?: EpochMs | Date;
  /** Not worth starting after this instant: the task is then cancelled. */
  readonly staleAt?: EpochMs | Date;
  /** At most one task of this name and key. */
  readonly unique?: UniqueOptions;
  /** Buffers of the payload that are moved into the runtime instead of copied; the caller's become empty. */
  readonly transfer?: readonly ArrayBuffer[];
  /**
   * With no room for the task: `wait` for some, `reject`, or `shed` waiting tasks of lower priorities. By
   * default what the runtime's `whenFull` says.
   */
  readonly whenFull?: WhenFull;
  /** Ends the wait for room when aborted; nothing is enqueued then. */
  readonly signal?: AbortSignal;
}

/** At most one task of a name has a key at a time. */
export interface UniqueOptions {
  /** Keys of different task names never meet. */
  readonly key: string;
  /** How long the key stays taken; without it, until the task is final. */
  readonly forMs?: number;
  /** `keep` leads to the task that is there, `replace` takes its place while it waits, `reject` throws. */
  readonly onConflict?: UniqueKey['onConflict'];
}

/** {@link EnqueueOptions} after their check: instants are whole epoch milliseconds, `unique` is complete. */
export interface CheckedEnqueueOptions extends TaskOptions {
  readonly delayMs?: number;
  readonly runAt?: EpochMs;
  readonly staleAt?: EpochMs;
  readonly unique?: UniqueKey;
  readonly transfer?: readonly ArrayBuffer[];
  readonly whenFull?: WhenFull;
  readonly signal?: AbortSignal;
}

/** Enqueue and await. */
export interface RunOptions extends EnqueueOptions, WaitOptions {}

interface WaitOptions {
  /** Cancels the task when aborted. */
  readonly signal?: AbortSignal;
  /** How long to wait for the result; the task goes on afterwards. */
  readonly waitMs?: number;
}

/** {@link RunOptions} after their check. */
export interface CheckedRunOptions extends CheckedEnqueueOptions {
  readonly signal?: AbortSignal;
  readonly waitMs: number;
}

/** What `handle.result()` takes. */
export interface ResultOptions {
  /** How long to wait for the result; the task goes on afterwards. */
  readonly timeoutMs?: number;
  /** Ends the wait when aborted; the task goes on. */
  readonly signal?: AbortSignal;
}

/** {@link ResultOptions} after their check. */
export interface CheckedResultOptions extends ResultOptions {
  readonly timeoutMs: number;
}

/** What `runtime.stop()` takes. */
export interface StopOptions {
  /** How long running tasks may go on before they are aborted. */
  readonly graceMs?: number;
  /** From their abort signal to the end of their threads. */
  readonly killMs?: number;
}

/** Defaults for the tasks of a queue, and how the queue is served. */
export interface QueueOptions extends Omit<TaskOptions, 'queue'> {
  /** At most so many threads run tasks of this queue at once; by default all. */
  readonly maxThreads?: number;
  /** Tasks of this queue at once on each of its threads, for handlers that wait for I/O. */
  readonly perThread?: number;
  /** High-water mark: tasks of this queue that may wait; beyond, see {@link OpenOptions.whenFull}. */
  readonly maxWaiting?: number;
  /** Begins paused. Without it, a pause made earlier with `runtime.pause` holds. */
  readonly paused?: boolean;
}

/** {@link QueueOptions} after their check. */
export interface CheckedQueueOptions extends QueueOptions {
  readonly perThread: number;
}

/** Functions of the host for one task name. */
export interface TaskHooks {
  /**
   * Replaces the backoff policy: milliseconds until the next attempt. When it throws or returns no sound
   * number, the policy applies.
   * @param attempt  The failures or crashes so far, from 1.
   */
  readonly backoff?: (attempt: number, error: StoredError | undefined) => number;
  /** Checked at enqueue; what it puts out becomes the payload. */
  readonly validate?: StandardSchema;
  /** The limit key of a task, instead of a path into its payload; called at enqueue. */
  // biome-ignore lint/suspicious/noExplicitAny: the host knows the payloads of its tasks
  readonly limitKey?: (payload: any) => string;
}

/** How often and how many at once; see `task/limit-rule.ts`. */
export interface LimitsOptions {
  /** All tasks together. */
  readonly perRuntime?: LimitRule;
  /** By queue name: its tasks together. */
  readonly queues?: Readonly<Record<string, LimitRule>>;
  /** By task name, over what the definition says. */
  readonly tasks?: Readonly<Record<string, TaskLimitsOptions>>;
}

/** With a `limitKey`, in the definition or here, it holds for each key by itself. */
export interface TaskLimitsOptions extends TaskLimits {
  /** Rules of single keys, over those of the name. */
  readonly keys?: Readonly<Record<string, LaneRule>>;
}

/** When a low level has its turn although higher ones have tasks. */
export interface AgeingOptions {
  /** After so many starts that passed over a level which has tasks, its best one goes first. */
  readonly afterStarts: number;
}

/**
 * Limits of each worker thread's heap, as in `node:worker_threads`; a child process has the two generations.
 */
export interface ThreadLimits {
  readonly maxOldGenerationSizeMb?: number;
  readonly maxYoungGenerationSizeMb?: number;
  readonly codeRangeSizeMb?: number;
  readonly stackSizeMb?: number;
}

/** When a thread or child is replaced by a fresh one. */
export interface RecycleOptions {
  /** After this many tasks. */
  readonly tasks?: number;
  /** When its heap and buffers together are above this. */
  readonly heapBytes?: number;
}

/** A module with handlers; a relative path is relative to the working directory. */
export type ModuleLocation = string | URL;

/** What `openRuntime` takes. */
export interface OpenOptions {
  /** Where tasks are kept: a folder (`./data` or `lmdb:./data`), `memory:`, or the URL of an engine. */
  readonly backend: string | URL;
  /** The module, or modules, whose exports are the handlers; imported by the worker threads only. */
  readonly tasks: ModuleLocation | readonly ModuleLocation[];
  readonly threads?: number;
  /** By queue name. Queues not named here exist too, with the defaults. */
  readonly queues?: Readonly<Record<string, QueueOptions>>;
  /** Runs these queues only. */
  readonly serve?: readonly string[];
  /** By task name. */
  readonly hooks?: Readonly<Record<string, TaskHooks>>;
  /** Functions of the host that say when schedules fire, by the names that their rules give (`next`). */
  readonly calendars?: Readonly<Record<string, CalendarFunction>>;
  /** How often tasks start, and how many at once. `runtime.limits.set` changes it while running. */
  readonly limits?: LimitsOptions;
  /** Lets low levels have a turn when higher ones never end. */
  readonly ageing?: AgeingOptions;
  /** Host objects that handlers call through `context.services`. */
  readonly services?: Readonly<Record<string, unknown>>;
  /**
   * Formats beside the built-in ones. They serve the host; a tasks module exports them too, because functions
   * do not cross to threads.
   */
  readonly codecs?: readonly Codec[];
  readonly logger?: Logger;
  /** Stops the runtime when aborted. */
  readonly signal?: AbortSignal;
  /** Process signals that stop the runtime; a second one stops it at once. */
  readonly stopOn?: readonly StopSignal[];
  /** When another process owns the folder: throw, wait until it is gone, or be its client until then. */
  readonly ifLocked?: 'fail' | 'wait' | 'join';
  /** Starts tasks at once; otherwise after `runtime.start()`. */
  readonly autostart?: boolean;
  /** Opens when the handlers are known; otherwise at once, with those of the last run. */
  readonly waitForTasks?: boolean;
  /** Node options of the worker threads and children. */
  readonly execArgv?: readonly string[];
  readonly resourceLimits?: ThreadLimits;
  /** Environment of the worker threads and children; by default a copy of the host's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly recycle?: RecycleOptions;
  /** For tests. */
  readonly clock?: Clock;
  /** Largest encoded payload, its binary parts not counted. */
  readonly maxPayloadBytes?: number;
  /** Binary parts of a payload or result together; also buffers moved in with `transfer`. */
  readonly maxBufferBytes?: number;
  /** Largest encoded result, its binary parts not counted. */
  readonly maxResultBytes?: number;
  /** High-water mark: tasks of all queues that may wait, that is are ready, scheduled or blocked. */
  readonly maxWaiting?: number;
  /** What becomes of an enqueue that finds no room and does not say it itself. */
  readonly whenFull?: WhenFull;
  /**
   * Enqueues not yet flushed, and again those that wait for room. With so many unflushed, `enqueue` does what
   * `whenFull` says; with so many that wait, it rejects with `ERR_MILLRACE_QUEUE_FULL`.
   */
  readonly maxPendingEnqueues?: number;
  /** Their payloads together. */
  readonly maxPendingBytes?: number;
  /** Size of the store. */
  readonly maxBytes?: number;
  /** Space that must stay free on its disk. */
  readonly minFreeBytes?: number;
}

/** What `openClient` takes. */
export interface ClientOptions {
  /** The folder of the tasks: `./data` or `lmdb:./data`. */
  readonly backend: string | URL;
  /** Formats beside the built-in ones. */
  readonly codecs?: readonly Codec[];
  readonly logger?: Logger;
  /** Closes the client when aborted. */
  readonly signal?: AbortSignal;
  /** For tests. */
  readonly clock?: Clock;
}

/** {@link ClientOptions} after their check. */
export type CheckedClientOptions = Required<Omit<ClientOptions, 'signal'>> & Pick<ClientOptions, 'signal'>;

/** Process signals that can stop a runtime. */
export type StopSignal = 'SIGTERM' | 'SIGINT' | 'SIGHUP' | 'SIGQUIT' | 'SIGBREAK' | 'SIGUSR2';

/** The options that are absent when not given: there is no default that means the same. */
type Absent = 'serve' | 'signal' | 'execArgv' | 'resourceLimits' | 'env' | 'ageing';

/** {@link OpenOptions} after their check, complete and frozen. Named things are in Maps. */
export interface RuntimeOptions
  extends Required<
      Omit<OpenOptions, Absent | 'tasks' | 'queues' | 'hooks' | 'calendars' | 'limits' | 'recycle'>
    >,
    Pick<OpenOptions, Absent> {
  readonly tasks: readonly ModuleLocation[];
  readonly queues: ReadonlyMap<string, CheckedQueueOptions>;
  readonly hooks: ReadonlyMap<string, TaskHooks>;
  readonly calendars: ReadonlyMap<string, CalendarFunction>;
  readonly limits: CheckedLimits;
  readonly recycle: Required<RecycleOptions>;
}

/** Defaults that only the host can know; passed in because this folder imports nothing. */
export interface HostDefaults {
  readonly threads: () => number;
  readonly logger: Logger;
  readonly clock: Clock;
}
