/**
 * The port between the loops in `run/` and whatever executes handlers: piscina's threads (`thread-pool.ts`)
 * or the host's own thread for tests (`same-thread.ts`), and child processes (`child.ts`). It carries batches
 * of tasks out and outcomes back, enforces deadlines, and knows which thread runs what. It knows nothing of
 * queues, retries or storage: it never decides what an outcome means.
 *
 * One item's life: handed over (0) ─▶ started (1) ─▶ finished (3), or recalled (2) before it started. The
 * step from 0 is a compare-and-swap in shared memory, so that exactly one of thread and coordinator gets the
 * item.
 */

import type { ParentsPage, ParentsRequest } from '../task/parents.js';
import type { FireOf, TaskId } from '../task/task.js';
import type { DefinedOptions, Isolation } from '../task/task-options.js';

/** One task as a pool needs it. `token` is the caller's own; it comes back with the outcome. */
export interface PoolItem<Token = unknown> {
  readonly token: Token;
  readonly name: string;
  readonly attempt: number;
  /** Length of the encoded payload. */
  readonly bodyBytes: number;
  /** Writes the encoded payload; called before `hand` returns, if at all. */
  copyBody(target: Uint8Array, at: number): void;
  /** Writes the 16 bytes of the task's id. */
  writeId(target: Uint8Array, at: number): void;
  /** The schedule that made it. */
  readonly schedule?: FireOf | undefined;
  /**
   * Runs alone on its thread because it may have ended one before: now it is charged for what nobody caught.
   */
  readonly isSuspect?: boolean;
  /** From the start of the handler; Infinity is none. */
  readonly timeoutMs: number;
  /** From the abort signal to the end of the thread. */
  readonly killGraceMs: number;
  /**
   * Given instead of a body for payloads moved in with `transfer`; the buffers in `list` are moved to the
   * thread.
   */
  readonly moved?: { readonly value: unknown; readonly list: readonly ArrayBuffer[] };
}

/** How a handler ended, before `transition.ts` decides what follows from it. */
export type ItemOutcome =
  | { readonly kind: 'completed'; readonly result: Uint8Array }
  /**
   * `error` is an encoded `StoredError`; `retryable` false when the handler said so or the payload was
   * invalid.
   */
  | {
      readonly kind: 'failed';
      readonly error: Uint8Array;
      readonly retryable: boolean;
      readonly invalidPayload: boolean;
    }
  | { readonly kind: 'snoozed'; readonly delayMs: number }
  /** Abort at its deadline or by `abort()`, whether the handler obeyed or its thread was terminated. */
  | { readonly kind: 'aborted'; readonly reason: AbortReason; readonly threadKilled: boolean }
  /** The thread died under it by itself. `detail` says how, for example `worker exited with code 7`. */
  | { readonly kind: 'crashed'; readonly detail: string; readonly code?: string | number }
  /** It never started, or its thread died for another's sake; to be run again, uncharged.
   *  `suspect`: several ran on that thread and any of them may have killed it; run it alone next time. */
  | { readonly kind: 'released'; readonly started: boolean; readonly suspect: boolean };

export type AbortReason = 'timed-out' | 'cancelled' | 'stopped';

/** What a handler asked for beside its result; committed with it. */
export interface ItemExtras {
  readonly progress?: unknown;
  readonly logs?: readonly { readonly at: number; readonly message: string }[];
  readonly enqueue?: readonly EnqueueRequest[];
}

/** `context.enqueue` in a handler: `body` is the encoded payload. */
export interface EnqueueRequest {
  readonly name: string;
  readonly body: Uint8Array;
  readonly options?: Readonly<Record<string, unknown>>;
  /** It becomes a member of the flow of its task, if that has one. */
  readonly inFlow?: boolean;
}

/** One item that is done with; each item of a batch is reported exactly once. */
export interface FinishedItem<Token = unknown> {
  readonly token: Token;
  readonly outcome: ItemOutcome;
  readonly extras?: ItemExtras;
  /** Wall clock, epoch ms; 0 when it never started. */
  readonly startedAt: number;
  readonly runMs: number;
  readonly thread: number;
}

/**
 * What the pool tells its owner. All are called on the main thread, never from inside a call into the pool.
 */
export interface PoolListener<Token = unknown> {
  /**
   * Some items of a batch are done with; may come several times per batch. The array is the listener's to
   * keep.
   */
  finished(slot: Slot<Token>, items: readonly FinishedItem<Token>[]): void;
  /** The slot can take more: a batch ended, its thread became ready, or a replacement did. */
  ready(slot: Slot<Token>): void;
  progress(token: Token, value: unknown): void;
  log(token: Token, at: number, message: string): void;
  /** `context.enqueue(…, { now: true })`; the answer goes back to the handler. */
  enqueue(token: Token, request: EnqueueRequest): Promise<TaskId>;
  /** `context.parents`; the answer goes back to the handler. */
  parents(token: Token, request: ParentsRequest): Promise<ParentsPage>;
  threadEvent(event: ThreadEvent): void;
}

/** What became of a thread or child. `threadId` is Node's, of a child its process id. */
export type ThreadEvent = {
  readonly slot: number;
  readonly threadId: number;
  readonly isolation: Isolation;
} & (
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'exited';
      readonly detail: string;
      /** Without what user code said, which is not for logs. */
      readonly cause: string;
      readonly expected: boolean;
    }
  /** Terminated, but stuck in native code: it may go on until that returns. */
  | { readonly kind: 'lost' }
  | { readonly kind: 'recycled'; readonly why: 'tasks' | 'heap' }
);

/** A handler that a worker knows, as reported in its manifest. `pattern` names end with one `*`. */
export interface HandlerInfo {
  readonly name: string;
  readonly pattern: boolean;
  readonly options: DefinedOptions;
}

/** One thread, or one child process, and its replacements over time. */
export interface Slot<Token = unknown> {
  /** From 0; stable over replacements. A thread and the child beside it have the same. */
  readonly index: number;
  readonly isolation: Isolation;
  /** Has a live thread that has imported the handlers. */
  readonly isReady: boolean;
  /** Batches handed over and not ended. */
  readonly batches: readonly Batch<Token>[];
  /**
   * Hands items over as one message. The caller keeps `batches.length` within its own bounds (two serial
   * batches, or `perThread` parallel ones). Never throws for what the items hold: a refusal arrives as an
   * outcome.
   * @param parallel  Run beside other batches of the slot instead of after them (`perThread` queues).
   */
  hand(items: readonly PoolItem<Token>[], parallel?: boolean): Batch<Token>;
}

/** Items handed over together. Indexes are those of the `hand` call. */
export interface Batch<Token = unknown> {
  readonly slot: Slot<Token>;
  readonly items: readonly PoolItem<Token>[];
  /** Monotonic milliseconds of the hand-over. */
  readonly handedAt: number;
  readonly parallel: boolean;
  /** Items neither started, recalled nor reported. Reads shared memory: O(items). */
  unstarted(): number;
  /**
   * Takes an unstarted item back; true when it is the caller's again (it will not be reported), false when it
   * started.
   */
  recall(index: number): boolean;
  /** Asks a started item to stop: abort flag and signal at once, its thread's end after `killGraceMs`. */
  abort(index: number, reason: AbortReason): void;
  /** Whether this item has started and not finished. */
  isRunning(index: number): boolean;
}

export interface Pool<Token = unknown> {
  readonly slots: readonly Slot<Token>[];
  /**
   * A child process beside each of `slots`, started when it is first warmed; empty where there are none. The
   * caller uses either a thread or the child beside it, so that together they are never more than `threads`.
   */
  readonly children: readonly Slot<Token>[];
  /** Starts the child beside a slot, unless one is starting: then this one has its turn when asked again. */
  warm(index: number): void;
  /** Handlers of all loaded modules; grows with `register`. */
  readonly handlers: readonly HandlerInfo[];
  /**
   * Boots the threads; resolves with the first that is ready, the others follow.
   * @throws {TasksModuleError} when the module is missing, throws on import, or exports no handler.
   */
  start(listener: PoolListener<Token>): Promise<void>;
  /** Loads a further module into every thread, present and future. @throws {TasksModuleError} */
  register(url: string): Promise<readonly HandlerInfo[]>;
  /**
   * Changes the number of slots. Surplus slots retire when idle; resolves when the new number is in place.
   */
  resize(threads: number): Promise<void>;
  /**
   * Ends all threads: those running something are first aborted with reason `stopped`, then terminated after
   * `killMs`. Each unfinished item is reported first. Resolves in bounded time with the number of threads
   * that did not end because they are stuck in native code.
   */
  stop(killMs: number): Promise<{ readonly lostThreads: number }>;
}

/** When a warm replacement takes over a slot. */
export interface RecycleRule {
  /** After this many tasks; Infinity is never. */
  readonly tasks: number;
  /** When the thread's heap and buffers together are above this after a batch, bytes; Infinity is never. */
  readonly heapBytes: number;
}

/** A function of the host that handlers may call through `context.services`. */
export type Services = Readonly<Record<string, unknown>>;
