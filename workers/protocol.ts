/**
 * Every message between a pool and a thread; all that `src/pool` and `workers` know of each other is here and
 * in `page.ts`. Three ways lead to and fro:
 *
 * ```
 * host ───run───▶ thread   hello, batch, register, retire: runs of piscina, each answered once
 * host ◀──notes── thread   over the control port: what a handler says as it runs, results that fit no page
 * host ─command─▶ thread   over the control port: abort signals, answers to `enqueue(…, { now: true })` and
 *                          `parents`
 * ```
 *
 * A note is posted before the state of its item changes in shared memory: a host that sees an item finished
 * finds all its notes in the port, even when the thread is dead by then.
 */
import type { MessagePort } from 'node:worker_threads';
import type { ParentsPage, ParentsRequest } from '../src/task/parents.js';
import type { StoredError } from '../src/task/stored-error.js';
import type { FireOf } from '../src/task/task.js';
import type { DefinedOptions } from '../src/task/task-options.js';
import type { BlobSetup } from './blobs.js';
import type { PageMemory } from './page.js';

export type ThreadMessage = HelloMessage | BatchMessage | RegisterMessage | RetireMessage;

/** First message: hands over the control port and has the modules imported. Answered with a `LoadReply`. */
export interface HelloMessage {
  readonly kind: 'hello';
  readonly port: MessagePort;
  /** Comlink's port; absent when the host gave no services. */
  readonly servicesPort?: MessagePort;
  readonly modules: readonly string[];
  /** Module whose exports are codecs. */
  readonly codecs?: string;
  readonly limits: ThreadLimits;
  /** Float64: `[memory in bytes after the last batch]`. */
  readonly status: SharedArrayBuffer;
  /** Measure memory after batches. */
  readonly watchMemory: boolean;
}

export interface ThreadLimits {
  readonly maxResultBytes: number;
  /** Bytes of all binary leaves of one result together. */
  readonly maxResultBufferBytes: number;
}

/**
 * Tasks to run, packed one after the other:
 * `[body bytes u32][index of name u16][attempt u16][id 16 bytes][body]`, little-endian.
 */
export interface BatchMessage {
  readonly kind: 'batch';
  readonly page: number;
  /** With the first batch of a page. */
  readonly memory?: PageMemory;
  readonly parallel: boolean;
  readonly count: number;
  readonly rows: Uint8Array;
  /** Names that are new to the thread; they take the next indexes of its table. */
  readonly names?: readonly string[];
  /** The table begins anew with `names`. */
  readonly resetNames?: boolean;
  /** The payload of a batch of one whose buffers were moved; its row has no body. */
  readonly moved?: { readonly value: unknown };
  /** By place in the batch: which fires its tasks are of; absent when they are of none. */
  readonly fires?: readonly (FireOf | undefined)[];
  /** With the first batch: where large payloads are and large results go; absent where that is inline. */
  readonly blobs?: BlobSetup;
}

export const ROW_HEADER_BYTES = 24;
export const MAX_ATTEMPT = 0xffff;
/** Names a thread remembers before its table begins anew; patterns can make any number of them. */
export const MAX_NAMES = 4_096;

/** Imports one more module. Answered with a `LoadReply`. Batches sent after it see its handlers. */
export interface RegisterMessage {
  readonly kind: 'register';
  readonly url: string;
}

/** Runs the `stop` of every setup; answered when they ended. */
export interface RetireMessage {
  readonly kind: 'retire';
}

export type LoadReply =
  | { readonly ok: true; readonly handlers: readonly HandlerDescription[] }
  | { readonly ok: false; readonly url: string; readonly why: string; readonly error?: StoredError };

/** A handler as the pool's `HandlerInfo` has it. */
export interface HandlerDescription {
  readonly name: string;
  readonly pattern: boolean;
  readonly options: DefinedOptions;
}

/** What a running handler says, over the control port. `page` and `index` name its item. */
export type Note = { readonly page: number; readonly index: number } & (
  | { readonly kind: 'progress'; readonly value: Uint8Array }
  | { readonly kind: 'log'; readonly at: number; readonly message: string }
  | { readonly kind: 'enqueue'; readonly call?: number; readonly request: NotedRequest }
  | { readonly kind: 'parents'; readonly call: number; readonly request: ParentsRequest }
  | { readonly kind: 'result'; readonly bytes: Uint8Array }
  /** Of the thread, not of an item: it is done with its files of results before the one of this serial. */
  | { readonly kind: 'files'; readonly before: number }
);

export interface NotedRequest {
  readonly name: string;
  readonly body: Uint8Array;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly inFlow?: boolean;
}

/** From the host, over the control port. */
export type Command =
  | { readonly kind: 'abort'; readonly page: number; readonly index: number }
  | { readonly kind: 'enqueued'; readonly call: number; readonly id: string }
  | { readonly kind: 'parents'; readonly call: number; readonly page: ParentsPage }
  | { readonly kind: 'refused'; readonly call: number; readonly error: StoredError };

/**
 * What Comlink exposes on the host: one function, since every property of a Comlink proxy is an object of
 * its own.
 */
export interface ServiceHost {
  call(page: number, index: number, path: readonly string[], args: readonly unknown[]): Promise<ServiceReply>;
}
export type ServiceReply =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: StoredError };

/** Bounds on what one attempt may say beside its result. */
export const MAX_LOG_LINES = 100;
export const MAX_LOG_BYTES = 2_048;
export const MAX_ENQUEUES = 1_000;
/** Least time between two progress notes of one attempt; the last value is never lost. */
export const PROGRESS_EVERY_MS = 100;
