/**
 * What clients and the owner of a folder say to each other over its socket, one frame a message:
 *
 *     client ──▶ owner   hello, then calls, each with a number of its own; yield alone, without hello
 *     client ◀── owner   welcome, then one answer for each call, in any order; events between them
 *
 * A starter that waits for the folder connects as well and says nothing. Acceptances are told after the
 * flush. Both sides may be of different versions: an unknown call is refused, an unknown member is passed
 * over, and another number in hello is another protocol.
 */

import type { FlowOptions } from '../flow/types.js';
import type { OwnerRole } from '../owner/epoch-files.js';
import type { EncodedTask } from '../run/front.js';
import type { SentSchedule } from '../run/schedules/desk.js';
import type { StoredError } from '../task/stored-error.js';
import type { WhenFull } from '../task/task.js';
import type { DefinedOptions } from '../task/task-options.js';
import type { SentNode } from './flows/nodes.js';

export const PROTOCOL = 1;

/** Clients of one owner. A connection beyond may still ask it to yield. */
export const MAX_CLIENTS = 1_000;
/** Calls of one client under way at the owner, those that wait for a result included. */
export const MAX_CALLS = 200_000;
/** Tasks of one `enqueue`; a client gathers more than that into several. */
export const MAX_TASKS_PER_CALL = 1_000;
/** Ids of a large batch that are told in one message. */
export const IDS_PER_MESSAGE = 16_384;
/** A client ends an `enqueue` or a part of a batch at about this size. */
export const PART_BYTES = 256 * 1024;
/** What a frame may hold beside the largest payload. */
export const FRAME_ROOM_BYTES = 1024 * 1024;
/** Output that waits for a slow reader; beyond it nothing more is read from that connection. */
export const MAX_UNSENT_BYTES = 4 * 1024 * 1024;

/** What can be asked, and the arguments; each is answered by `done` or `failed`. */
export interface Verbs {
  /**
   * Independent tasks. Answer: {@link Placed} for each, or the error of those that were refused. One that is
   * to wait for room says so and comes alone; `end` ends its wait, and it is answered nevertheless.
   */
  readonly enqueue: { readonly tasks: readonly EncodedTask[] };
  /**
   * Tasks accepted together. With `more`, a part: further ones follow under the same number. Answer:
   * {@link Placed} for each. Of more than fit one commit: `{ staged: how many }`, after `event` messages with
   * the bytes of their ids in order.
   */
  readonly batch: { readonly tasks: readonly EncodedTask[]; readonly more?: boolean };
  readonly settled: { readonly id: string };
  readonly state: { readonly id: string };
  readonly get: { readonly id: string };
  readonly list: { readonly filter: unknown; readonly page: unknown };
  readonly counts: object;
  readonly cancel: { readonly what: unknown };
  readonly redrive: { readonly what: unknown };
  readonly delete: { readonly what: unknown };
  readonly pause: { readonly queue: string; readonly isPaused: boolean };
  readonly setLimit: { readonly scope: unknown; readonly rule: unknown };
  readonly removeLimit: { readonly scope: unknown };
  readonly listLimits: object;
  readonly resize: { readonly threads: number };
  readonly idle: object;
  /** Creates or replaces. Answer: `SetSchedule`. */
  readonly schedule: SentSchedule;
  readonly getSchedule: { readonly id: string };
  readonly listSchedules: { readonly page: unknown };
  readonly pauseSchedule: { readonly id: string; readonly isPaused: boolean };
  readonly deleteSchedule: { readonly id: string };
  /** Answer: {@link Placed}, as a task that was enqueued. */
  readonly runSchedule: { readonly id: string };
  /**
   * Nodes of a flow in the order of its plan. With `more`, a part: further ones follow under the same number.
   * Answer: {@link FlowAnswer}, with the ids of the members at the places `wanted`, of the last part.
   */
  readonly flow: {
    readonly head: FlowOptions;
    readonly nodes: readonly SentNode[];
    readonly more?: boolean;
    readonly wanted?: Uint32Array;
  };
  readonly flowGet: { readonly id: string };
  readonly flowList: { readonly page: unknown };
  readonly flowTasks: { readonly id: string; readonly page: unknown };
  readonly flowSettled: { readonly id: string };
  readonly flowCancel: { readonly id: string };
  readonly flowRedrive: { readonly id: string };
  readonly flowDelete: { readonly id: string };
  /** Answered when listening has ended; until then come `event` messages. */
  readonly events: { readonly filter: unknown };
}
export type Verb = keyof Verbs;

export type Call<Of extends Verb = Verb> = {
  readonly [Name in Of]: { readonly kind: 'call'; readonly call: number; readonly verb: Name } & Verbs[Name];
}[Of];

export type Request =
  | { readonly kind: 'hello'; readonly protocol: number }
  /** To a caretaker, from a runtime that wants the folder. */
  | { readonly kind: 'yield' }
  | Call
  /**
   * Nothing more is wanted of this call: events end, a batch whose parts were not all sent is dropped, and
   * so are tasks that wait for room.
   */
  | { readonly kind: 'end'; readonly call: number };

export type Reply =
  | Welcome
  | { readonly kind: 'done'; readonly call: number; readonly value?: unknown }
  | { readonly kind: 'failed'; readonly call: number; readonly error: StoredError }
  | { readonly kind: 'event'; readonly call: number; readonly event: unknown };

export interface Welcome {
  readonly kind: 'welcome';
  readonly protocol: number;
  readonly role: OwnerRole;
  /** Names and options of the handlers, as far as they are known. */
  readonly handlers: readonly KnownHandler[];
  /** Codecs that the owner's queues name. */
  readonly codecs: Readonly<Record<string, string>>;
  readonly maxPayloadBytes: number;
  readonly maxBufferBytes: number;
  /** What enqueues do that find no room and say nothing of it; `reject` where absent. */
  readonly whenFull?: WhenFull;
}

export interface KnownHandler {
  readonly name: string;
  readonly pattern: boolean;
  readonly options: DefinedOptions;
}

/** A flow was accepted. */
export interface FlowAnswer {
  readonly id: string;
  /** 16 bytes for each of the places. */
  readonly ids: Uint8Array;
  /** Those of them that a unique key led to: indexes into the places. */
  readonly old: readonly number[];
}

/** How one task of an `enqueue` went. */
export type Placed = { readonly id: string; readonly isNew: boolean } | { readonly error: StoredError };
