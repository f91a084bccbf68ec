/**
 * A task that has left the fast path: delayed, retried, cancelled, dead, or with notes of its own. Its record
 * holds everything known of it, so that the segment it came from can go.
 */
import { decodeValue, encodeValue } from '../../task/codec.js';
import { formatId } from '../../task/id.js';
import type { WhenParentDies } from '../../task/parents.js';
import {
  type Attempt,
  type FireOf,
  FRESH,
  isFinal,
  type LogLine,
  type Tally,
  type TaskState,
} from '../../task/task.js';
import type { TaskOptions } from '../../task/task-options.js';
import type { Settled } from '../broker.js';
import { taskKey, u48 } from './keys.js';
import { HEADER_BYTES, ROW, readHeader, sealRow } from './rows.js';

/** Options and conditions that came with an enqueue; stored in front of the body in a segment. */
export interface TaskMeta {
  readonly options?: TaskOptions;
  readonly staleAt?: number;
  readonly unique?: { readonly key: string; readonly forMs?: number };
  readonly parent?: string;
  /** The lane of its limits; a task in a segment of that lane needs none. */
  readonly lane?: string;
  readonly schedule?: FireOf;
  /** Of a member of a flow. */
  readonly flow?: Membership;
}

export interface Membership {
  /** Of the flow. */
  readonly number: number;
  /** Of its parents; the index is stored with each parent. */
  readonly labels: readonly string[];
  readonly whenParentDies: WhenParentDies;
}

export interface TaskRecord {
  readonly segment: number;
  readonly index: number;
  /** The 16 bytes of the id. */
  readonly idBytes: Uint8Array;
  readonly name: string;
  readonly queue: string;
  readonly level: number;
  readonly createdAt: number;
  meta: TaskMeta;
  body: Uint8Array;
  /**
   * Key prefix of the segment it came from, `''` when it was born as a record. While that segment is stored,
   * the record must stay: without it the task would seem to wait there still.
   */
  readonly home: string;
  /** Deleted by the user, kept only for its home segment. */
  isDeleted: boolean;
  state: Exclude<TaskState, 'running'>;
  tally: Tally;
  attempts: readonly Attempt[];
  /** Lane of a ready record; `''` is the plain one. */
  lane: string;
  /** Segment of references that holds it while it is ready, and the place there; 0 otherwise. */
  readyIn: number;
  readyAt: number;
  runAt: number;
  settledAt: number;
  expiresAt: number;
  reason: string;
  progress: unknown;
  logs: readonly LogLine[];
  result: Uint8Array | undefined;
}

/** At most this many attempts are kept: the first and the newest ones. */
export const KEPT_ATTEMPTS = 25;
const RECORD_LIMITS = { maxBytes: 64 * 1024 * 1024, maxBufferBytes: 1024 * 1024 * 1024 };

/** Order of a record's values as they are stored, without their names: append only. */
const FIELDS = [
  'segment',
  'index',
  'idBytes',
  'name',
  'queue',
  'level',
  'createdAt',
  'meta',
  'body',
  'home',
  'isDeleted',
  'state',
  'tally',
  'attempts',
  'lane',
  'readyIn',
  'readyAt',
  'runAt',
  'settledAt',
  'expiresAt',
  'reason',
  'progress',
  'logs',
  'result',
] as const satisfies readonly (keyof TaskRecord)[];
type Stored = Pick<TaskRecord, (typeof FIELDS)[number]>;

export function sealRecord(record: TaskRecord): Buffer {
  try {
    return sealRow(ROW.record, encodeFields(record));
  } catch {
    // What a handler reported may be too deep inside of a record; the settlement must not fail for it.
    return sealRow(ROW.record, encodeFields({ ...record, ...withoutReports(record) }));
  }
}

function encodeFields(record: Stored): Uint8Array {
  return encodeValue(
    FIELDS.map((field) => record[field]),
    RECORD_LIMITS,
  );
}

function withoutReports({ attempts }: TaskRecord): Partial<TaskRecord> {
  const plain = attempts.map(({ error, ...attempt }): Attempt => {
    if (error === undefined) return attempt;
    return {
      ...attempt,
      error: { name: String(error.name), message: String(error.message).slice(0, 10_000) },
    };
  });
  return { progress: undefined, logs: [], attempts: plain };
}

export function openRecord(bytes: Uint8Array, where: string): TaskRecord {
  const { row } = readHeader(bytes, where, ROW.record);
  const values = decodeValue(row.subarray(HEADER_BYTES)) as unknown[];
  const record: Record<string, unknown> = {};
  for (let at = 0; at < FIELDS.length; at++) record[FIELDS[at]!] = values[at];
  return record as unknown as Stored;
}

export function addAttempt(attempts: readonly Attempt[], attempt: Attempt | undefined): readonly Attempt[] {
  if (attempt === undefined) return attempts;
  if (attempts.length < KEPT_ATTEMPTS) return [...attempts, attempt];
  return [attempts[0]!, ...attempts.slice(2), attempt];
}

/** What a running task has reported so far. */
export interface Note {
  readonly progress?: unknown;
  readonly logs?: readonly LogLine[];
}

/** `undefined` when it is too deep or too large to be kept. */
export function sealNote(note: Note): Buffer | undefined {
  try {
    return sealRow(ROW.note, encodeValue(note, RECORD_LIMITS));
  } catch {
    return undefined;
  }
}

export function decodeNote(bytes: Uint8Array | undefined): Note | undefined {
  if (bytes === undefined) return undefined;
  const { row } = readHeader(bytes, 'a note', ROW.note);
  return decodeValue(row.subarray(HEADER_BYTES)) as Note;
}

export function encodeMeta(meta: TaskMeta): Uint8Array {
  return encodeValue(meta, RECORD_LIMITS).slice();
}

export function decodeMeta(bytes: Uint8Array): TaskMeta {
  return decodeValue(bytes) as TaskMeta;
}

/** Value of rows that are only keys. */
export const EMPTY = Buffer.alloc(0);

/** A scheduled record without a past. */
export function blankRecord(
  segment: number,
  index: number,
  idBytes: Uint8Array,
  task: { readonly name: string; readonly queue: string; readonly level: number; readonly body: Uint8Array },
  createdAt: number,
): TaskRecord {
  return {
    segment,
    index,
    idBytes,
    name: task.name,
    queue: task.queue,
    level: task.level,
    createdAt,
    meta: {},
    body: task.body,
    home: '',
    isDeleted: false,
    state: 'scheduled',
    tally: FRESH,
    attempts: [],
    lane: '',
    readyIn: 0,
    readyAt: 0,
    runAt: 0,
    settledAt: 0,
    expiresAt: 0,
    reason: '',
    progress: undefined,
    logs: [],
    result: undefined,
  };
}

/** Key of a scheduled record by due time. */
export function laterKey(record: {
  readonly runAt: number;
  readonly segment: number;
  readonly index: number;
}): string {
  return u48(record.runAt) + taskKey(record.segment, record.index);
}

/** How the task of a final record ended. */
export function settledOf(record: TaskRecord): Settled {
  const isDead = record.state === 'dead';
  const last = isDead ? record.attempts.findLast((attempt) => attempt.error !== undefined) : undefined;
  return {
    id: formatId(record.idBytes),
    state: record.state as Settled['state'],
    ...(record.result === undefined ? {} : { result: record.result }),
    ...(record.reason === '' ? {} : { reason: record.reason }),
    ...(last?.error === undefined ? {} : { error: last.error }),
  };
}

export function isFinalRecord({ state }: TaskRecord): boolean {
  return isFinal(state);
}
