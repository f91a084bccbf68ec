/**
 * Every message between a pool and a child process. Inside of a child the same session runs as in a worker
 * thread, so what it says and is told stays in the words of `protocol.ts`; this file adds what memory shared
 * with a thread does for it there. Three pipes lead to and fro:
 *
 * ```
 * host ──data (3)──▶ child     items one by one, questions, commands; read by the child's main thread
 * host ─control (4)▶ child     marks of aborts; read by a thread of its own. Its end is the end of the child
 * host ◀─answers (5)─ child    notes, ends of items, answers; written synchronously
 * ```
 *
 * A child writes synchronously, on a pipe of its own, so that what it has said arrives though it dies in the
 * next instruction.
 *
 * A running item has a place, used again when it ends, and a mark: the number of the run in the high bits,
 * its abort code in the low two. A mark that stands in a place for an earlier run means nothing there, so it
 * does not matter which of the pipes is quicker.
 */
import type { StoredError } from '../src/task/stored-error.js';
import type { FireOf } from '../src/task/task.js';
import type { BlobSetup } from './blobs.js';
import type { Command, LoadReply, Note, RegisterMessage, RetireMessage, ThreadLimits } from './protocol.js';

export const PIPES = { data: 3, control: 4, answers: 5 } as const;

/** Items that run in a child at once. */
export const MAX_PLACES = 1_024;
const RUNS = 2 ** 28;

/** A mark with an abort code; 0 is none. */
export function markOf(run: number, abortCode = 0): number {
  return ((run % RUNS) << 2) | abortCode;
}

/** The abort code that `mark` has for `run`. */
export function abortCodeOf(mark: number, run: number): number {
  return mark >> 2 === run % RUNS ? mark & 3 : 0;
}

/** Over `data`. */
export type ToChild =
  | { readonly kind: 'ask'; readonly call: number; readonly message: ChildQuestion }
  | ItemMessage
  | { readonly kind: 'blobs'; readonly setup: BlobSetup }
  | { readonly kind: 'abort'; readonly place: number; readonly mark: number }
  | { readonly kind: 'command'; readonly command: Exclude<Command, { kind: 'abort' }> }
  | ServedMessage;

export type ChildQuestion = ChildHello | RegisterMessage | RetireMessage | TurnMessage;

/** First question: has the modules imported. Answered with a `LoadReply`. */
export interface ChildHello {
  readonly kind: 'hello';
  readonly modules: readonly string[];
  readonly codecs?: string;
  readonly limits: ThreadLimits;
  readonly watchMemory: boolean;
  readonly hasServices: boolean;
  /** The largest frame that the host takes. */
  readonly maxFrameBytes: number;
}

/** Answered as soon as the child's main thread has a turn for it: then it can start something. */
export interface TurnMessage {
  readonly kind: 'turn';
}

/** Runs one task. */
export interface ItemMessage {
  readonly kind: 'item';
  readonly place: number;
  readonly run: number;
  readonly name: string;
  /** As in a batch, with the name's index 0. */
  readonly row: Uint8Array;
  /** What was moved into the runtime, serialized by V8; the row has no body then. */
  readonly moved?: Uint8Array;
  /** The fire that it is of. */
  readonly schedule?: FireOf;
}

/** Values of services are serialized by V8, so that they are what a port would carry. */
export type ServedMessage = { readonly kind: 'served'; readonly call: number } & (
  | { readonly ok: true; readonly value: Uint8Array }
  | { readonly ok: false; readonly error: StoredError }
);

/** Over `answers`. Places stand for page and index in notes. */
export type FromChild =
  | { readonly kind: 'answer'; readonly call: number; readonly reply: LoadReply | undefined }
  | { readonly kind: 'note'; readonly note: Note }
  | EndedMessage
  | ServiceMessage
  /** Nobody has caught an error: the last words before the end, unless the user's code goes on from it. */
  | { readonly kind: 'dying'; readonly detail: string; readonly code?: string };

export interface EndedMessage {
  readonly kind: 'ended';
  readonly place: number;
  /** As in a page. */
  readonly bits: number;
  readonly runMs: number;
  readonly delayMs: number;
  readonly bytes?: Uint8Array;
  /** Memory of the child; 0 unless it is watched. */
  readonly memoryBytes: number;
}

export interface ServiceMessage {
  readonly kind: 'service';
  readonly call: number;
  readonly place: number;
  readonly path: readonly string[];
  readonly args: Uint8Array;
}
