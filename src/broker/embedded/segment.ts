/**
 * A segment in memory: up to 256 tasks that were accepted in one commit for one line and level, or references
 * to records that became ready together. Its buffer is the very value that gets stored, so a commit copies
 * nothing.
 *
 * Each place is `waiting`, `claimed`, `settled` (its result is, or will be, in a done row) or `gone` (moved
 * to a record of its own). A segment with no place waiting or claimed is over: its stored row goes in the
 * same commit.
 */
import { BLOB } from '../../task/blob-ref.js';
import type { Settled } from '../broker.js';
import type { EmbeddedClaim } from './claim.js';
import { putU48 } from './keys.js';
import type { LevelQueue } from './line.js';
import type { TaskRecord } from './record.js';
import { HEADER_BYTES, type PackedResult, REF_BYTES, ROW, TASK_HEADER_BYTES, writeHeader } from './rows.js';
import type { Waiter } from './waiters.js';

/** A segment takes no more tasks beyond these. Its first task may be larger than the bytes. */
export const SEGMENT_TASKS = 256;
export const SEGMENT_BYTES = 64 * 1024;

export const PLACE = { waiting: 0, claimed: 1, settled: 2, gone: 3 } as const;

/** Room for tasks that a segment begins with. Lanes of limits are many and have few. */
const MANY_BYTES = 512;
const FEW_BYTES = 128;

/** Up to this a loop is cheaper than a call. */
const SMALL_COPY_BYTES = 48;

const NO_META = Buffer.alloc(0);

/** A result on its way into a done row. */
export interface FreshResult extends PackedResult {
  readonly index: number;
  readonly settledAt: number;
  readonly expiresAt: number;
  /** Deleted before it was written. */
  isDeleted: boolean;
}

export class Segment {
  readonly number: number;
  readonly line: LevelQueue;
  readonly createdAt: number;
  /** References of ready records, by place; empty for a segment of tasks. */
  readonly records: (TaskRecord | undefined)[] = [];
  readonly isRefs: boolean;
  /** Byte offset of each task in `row`. */
  readonly offsets: number[] = [];
  readonly places: number[] = [];
  row: Buffer;
  rowBytes = HEADER_BYTES;
  /** Places that are not gone. */
  left = 0;
  /** Places that wait. */
  waiting = 0;
  /** No place before this one waits. */
  next = 0;
  /** Nothing is added once the commit that stores it has begun. */
  sealed = false;
  /** Its row is in the tables (committed or about to be). */
  isPut = false;
  isFlushed = false;
  /** Places from here on wait for the flush of the segment before they start (`startAfterCommit`). */
  heldFrom = Number.POSITIVE_INFINITY;
  /** Held by the window in memory; else only on disk once flushed. */
  resident = true;
  /** Bytes of the window that it takes. */
  heldBytes = 0;
  /** Made in this process, so that tickets may ask it; one that was read back has none. */
  hasTickets = true;
  /** Results that the next commit will write, by place. */
  fresh: FreshResult[] = [];
  /** Started by an owner that died. */
  suspects: Set<number> | undefined;
  /** Places that have a row in `note`. */
  noted: Set<number> | undefined;
  /** Live claims, by place. */
  claims: (EmbeddedClaim | undefined)[] = [];
  /** How places ended, for tickets that ask later. Flushed. */
  outcomes: (Settled | undefined)[] | undefined;
  waiters: (Waiter | Waiter[] | undefined)[] | undefined;

  constructor(number: number, line: LevelQueue, createdAt: number, kind: 'tasks' | 'refs') {
    this.number = number;
    this.line = line;
    this.createdAt = createdAt;
    this.isRefs = kind === 'refs';
    this.row = Buffer.allocUnsafe(line.line.kind === 'limit' ? FEW_BYTES : MANY_BYTES);
  }

  get count(): number {
    return this.places.length;
  }

  hasRoomFor(bodyBytes: number): boolean {
    if (this.sealed || this.count >= SEGMENT_TASKS) return false;
    return this.count === 0 || this.rowBytes + bodyBytes + TASK_HEADER_BYTES <= SEGMENT_BYTES;
  }

  /** Appends a task. @returns its place. */
  addTask(name: number, body: Uint8Array, meta: Uint8Array = NO_META): number {
    const bytes = TASK_HEADER_BYTES + meta.length + body.length;
    const at = this.#grow(bytes);
    const { row } = this;
    const size = body.length;
    row[at] = size >>> 24;
    row[at + 1] = (size >>> 16) & 255;
    row[at + 2] = (size >>> 8) & 255;
    row[at + 3] = size & 255;
    row[at + 4] = name >>> 8;
    row[at + 5] = name & 255;
    row[at + 6] = meta.length >>> 8;
    row[at + 7] = meta.length & 255;
    if (meta.length > 0) row.set(meta, at + TASK_HEADER_BYTES);
    row.set(body, at + TASK_HEADER_BYTES + meta.length);
    this.offsets.push(at);
    return this.#addPlace(PLACE.waiting);
  }

  /** Appends a reference to a record that is ready. */
  addRef(record: TaskRecord): number {
    const at = this.#grow(REF_BYTES);
    putU48(this.row, record.segment, at);
    this.row.writeUInt16BE(record.index, at + 6);
    this.records.push(record);
    return this.#addPlace(PLACE.waiting);
  }

  /** The row as it is stored. */
  seal(): Buffer {
    this.sealed = true;
    const row = this.row.subarray(0, this.rowBytes);
    writeHeader(row, this.isRefs ? ROW.refs : ROW.tasks, this.count, this.createdAt);
    return row;
  }

  /** Takes over a row read from the store; `gone(index)` tells which places are settled or moved. */
  adopt(row: Buffer, offsets: readonly number[], gone: (index: number) => boolean): void {
    this.row = row;
    this.rowBytes = row.length;
    this.hasTickets = false;
    this.sealed = this.isPut = this.isFlushed = true;
    for (let index = 0; index < offsets.length; index++) {
      this.offsets.push(offsets[index]!);
      this.#addPlace(gone(index) ? PLACE.gone : PLACE.waiting);
    }
  }

  nameAt(index: number): number {
    return this.row.readUInt16BE(this.offsets[index]! + 4);
  }

  metaBytesAt(index: number): number {
    return this.row.readUInt16BE(this.offsets[index]! + 6);
  }

  metaAt(index: number): Buffer {
    const at = this.offsets[index]! + TASK_HEADER_BYTES;
    return this.row.subarray(at, at + this.metaBytesAt(index));
  }

  bodyBytesAt(index: number): number {
    return this.row.readUInt32BE(this.offsets[index]!);
  }

  /** Whether its payload is kept in a file; cheaper than a look at the body. */
  isBlobAt(index: number): boolean {
    const { row } = this;
    return row[this.offsets[index]! + TASK_HEADER_BYTES + this.metaBytesAt(index)] === BLOB;
  }

  copyBody(index: number, target: Uint8Array, at: number): void {
    const { row } = this;
    const from = this.offsets[index]! + TASK_HEADER_BYTES + this.metaBytesAt(index);
    const bytes = this.bodyBytesAt(index);
    if (bytes > SMALL_COPY_BYTES) row.copy(target, at, from, from + bytes);
    else for (let byte = 0; byte < bytes; byte++) target[at + byte] = row[from + byte]!;
  }

  bodyAt(index: number): Buffer {
    const at = this.offsets[index]! + TASK_HEADER_BYTES + this.metaBytesAt(index);
    return this.row.subarray(at, at + this.bodyBytesAt(index));
  }

  /**
   * The first waiting place, or −1 when there is none that may start.
   * @param withSuspects  Without them they are passed over.
   */
  firstClaimable(withSuspects = true): number {
    if (this.waiting === 0) return -1;
    while (this.places[this.next] !== PLACE.waiting) this.next++;
    const first = withSuspects || this.suspects === undefined ? this.next : this.#firstBehindSuspects();
    return first < this.heldFrom || this.isFlushed ? first : -1;
  }

  #firstBehindSuspects(): number {
    for (let index = this.next; index < this.count; index++) {
      if (this.places[index] === PLACE.waiting && !this.suspects!.has(index)) return index;
    }
    return -1;
  }

  claim(index: number): void {
    this.places[index] = PLACE.claimed;
    this.waiting--;
  }

  /** Puts a claimed place back. */
  unclaim(index: number): void {
    this.places[index] = PLACE.waiting;
    this.waiting++;
    if (index < this.next) this.next = index;
  }

  /** The task of this place is settled or has a record of its own now. */
  remove(index: number, as: typeof PLACE.settled | typeof PLACE.gone = PLACE.gone): void {
    const place = this.places[index]!;
    if (place >= PLACE.settled) return;
    if (place === PLACE.waiting) this.waiting--;
    this.places[index] = as;
    this.left--;
  }

  /** A dead owner had handed this task over. */
  addSuspect(index: number): void {
    this.suspects ??= new Set();
    this.suspects.add(index);
  }

  /** Keeps how a task ended for those who ask later. */
  keepOutcome(index: number, settled: Settled): void {
    this.outcomes ??= [];
    this.outcomes[index] = settled;
  }

  #addPlace(place: number): number {
    this.places.push(place);
    if (place === PLACE.waiting) {
      this.left++;
      this.waiting++;
    }
    return this.places.length - 1;
  }

  #grow(bytes: number): number {
    const at = this.rowBytes;
    const needed = at + bytes;
    if (needed > this.row.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, Math.min(this.row.length * 4, SEGMENT_BYTES)));
      this.row.copy(larger, 0, 0, at);
      this.row = larger;
    }
    this.rowBytes = needed;
    return at;
  }
}

/** References to payloads in files. */
export function* blobsOf(segment: Segment): Iterable<Uint8Array> {
  for (let index = 0; index < segment.count; index++) {
    if (segment.isBlobAt(index)) yield segment.bodyAt(index);
  }
}
