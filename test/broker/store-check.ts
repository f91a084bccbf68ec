/**
 * Reads all rows of an embedded store and holds them against the invariants of its layout: every accepted
 * task is in exactly one place, every index says what the rows say, and the counters equal a recount, also
 * those of the files of large payloads and results.
 */
import assert from 'node:assert/strict';
import { readBlobRow } from '#src/broker/embedded/blobs.js';
import { COUNTED } from '#src/broker/embedded/counters.js';
import { PLAIN_LANE, readU16, readU48, taskKey, u16, u48 } from '#src/broker/embedded/keys.js';
import { isFinalRecord, laterKey, openRecord, type TaskRecord } from '#src/broker/embedded/record.js';
import {
  HEADER_BYTES,
  homeOf,
  REF_BYTES,
  ROW,
  readHeader,
  TASK_HEADER_BYTES,
  unpackResults,
} from '#src/broker/embedded/rows.js';
import type { TableName, Tables } from '#src/broker/embedded/tables.js';
import { decodeBlobRef, isBlobRef } from '#src/task/blob-ref.js';
import { parseId } from '#src/task/id.js';
import { laneKind } from '#src/task/lane.js';
import { checkFlows } from './flow-check.js';

const FINAL_CODES = { completed: '\0', dead: '\x01', cancelled: '\x02' } as const;

/** What the store says of one task. */
export interface StoredTask {
  readonly state: string;
  readonly result?: Uint8Array;
  readonly reason?: string;
}

export interface Recount {
  /** By the bytes of its id that say where it is, see {@link placeOf}. Deleted ones are not in it. */
  readonly tasks: ReadonlyMap<string, StoredTask>;
  /** By queue name, counts that are not zero. */
  readonly counts: Record<string, Record<string, number>>;
  readonly rows: Record<TableName, number>;
  /** Bytes that are referred to, by file. */
  readonly blobs: Readonly<Record<string, number>>;
}

export function checkStore(tables: Tables): Recount {
  return new StoreCheck(tables).run();
}

export function placeOf(id: string): string {
  return Buffer.from(parseId(id)!.subarray(4, 12)).toString('latin1');
}

class StoreCheck {
  readonly #tables: Tables;
  readonly #records = new Map<string, TaskRecord>();
  /** Tasks that a done row answers for. */
  readonly #done = new Set<string>();
  readonly #refs = new Map<string, number>();
  readonly #waiting = new Set<string>();
  readonly #tasks = new Map<string, StoredTask>();
  readonly #queues = new Map<number, string>();
  readonly #laneNames = new Map<string, string>();
  readonly #counts: Record<string, Record<string, number>> = {};
  readonly #rows: Partial<Record<TableName, number>> = {};
  readonly #blobs: Record<string, number> = {};
  readonly #blobEnds: Record<string, number> = {};

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  run(): Recount {
    for (const [key, value] of this.#all('name')) {
      if (key[0] === '\x01') this.#queues.set(readU16(key, 1), Buffer.from(value).toString());
    }
    for (const [key, value] of this.#all('lane')) this.#laneNames.set(key, Buffer.from(value).toString());
    for (const [key, row] of this.#all('task')) this.#records.set(key, openRecord(row, 'store'));
    this.#readResults();
    this.#readSegments();
    for (const [key, record] of this.#records) this.#checkRecord(key, record);
    this.#checkIndexes();
    this.#checkCounters();
    this.#checkBlobs();
    checkFlows(this.#tables, this.#records);
    for (const table of ['flow', 'node', 'edge', 'parent', 'work'] as const) this.#all(table);
    const rows = this.#rows as Record<TableName, number>;
    return { tasks: this.#tasks, counts: this.#counts, rows, blobs: this.#blobs };
  }

  #refer(bytes: Uint8Array | undefined): void {
    if (bytes === undefined || !isBlobRef(bytes)) return;
    const { file, offset, bytes: length } = decodeBlobRef(bytes);
    this.#blobs[file] = (this.#blobs[file] ?? 0) + length;
    this.#blobEnds[file] = Math.max(this.#blobEnds[file] ?? 0, offset + length);
  }

  #checkBlobs(): void {
    const stored = this.#all('blob').map(([file, row]) => [file, readBlobRow(row)] as const);
    const live = Object.fromEntries(stored.map(([file, row]) => [file, row.live]));
    assert.deepEqual(live, this.#blobs, 'bytes in use of each file equal a recount');
    for (const [file, { end }] of stored) assert.ok(end >= this.#blobEnds[file]!, 'no reference goes beyond');
  }

  #all(table: TableName) {
    const rows = this.#tables.range(table, { start: '', end: '\u0100', limit: 10_000_000 });
    this.#rows[table] = rows.length;
    return rows;
  }

  #count(queue: string, what: string): void {
    this.#counts[queue] ??= {};
    this.#counts[queue][what] = (this.#counts[queue][what] ?? 0) + 1;
  }

  #readResults(): void {
    for (const [key, row] of this.#all('done')) {
      const header = readHeader(row, 'store', ROW.results);
      const queue = this.#queues.get(readU16(homeOf(header), 0))!;
      for (const [nth, result] of unpackResults(header).entries()) {
        const task = taskKey(readU48(key, 0), readU16(key, 6) + nth);
        assert.ok(!this.#done.has(task), 'a task has one result');
        assert.ok(!this.#records.has(task), 'a task with a result in a done row has no record');
        this.#done.add(task);
        if (result.isDeleted) continue;
        this.#refer(result.result);
        this.#count(queue, 'completed');
        this.#tasks.set(task, { state: 'completed', result: result.result });
      }
    }
  }

  #readSegments(): void {
    let placed = 0;
    for (const [key, bytes] of this.#all('ready')) {
      const { row, kind, count } = readHeader(bytes, 'store', ROW.tasks, ROW.refs);
      const lane = key.slice(2, 10);
      const laneName = lane === PLAIN_LANE ? '' : this.#laneNames.get(lane)!;
      const number = readU48(key, 11);
      if (lane !== PLAIN_LANE) {
        placed++;
        this.#lanes.add(lane);
        assert.equal(Buffer.from(this.#tables.get('place', u48(number))!).toString('latin1'), lane);
      }
      let open = 0;
      let next = HEADER_BYTES;
      for (let index = 0; index < count; index++) {
        const at = HEADER_BYTES + index * REF_BYTES;
        const task = kind === ROW.refs ? row.toString('latin1', at, at + REF_BYTES) : taskKey(number, index);
        const isHere = kind === ROW.refs ? this.#isRefHere(task, number, index) : this.#isTaskHere(task);
        const start = next + TASK_HEADER_BYTES + (kind === ROW.refs ? 0 : row.readUInt16BE(next + 6));
        if (kind === ROW.tasks) next = start + row.readUInt32BE(next);
        if (!isHere) continue;
        if (kind === ROW.tasks) this.#refer(row.subarray(start, next));
        open++;
        this.#waiting.add(task);
        this.#tasks.set(task, { state: 'ready' });
        const queue = this.#queues.get(readU16(key, 0))!;
        this.#count(queue, 'ready');
        if (laneKind(laneName) === 'aside') this.#count(queue, 'unhandled');
      }
      this.#openPlaces.push([number, open]);
    }
    const lanes = [...this.#laneNames.keys()];
    // What is being staged may have a lane before it has a segment.
    const [staged] = this.#tables.range('meta', { start: 'stage:', end: 'stage;', limit: 1 });
    if (staged === undefined)
      assert.deepEqual(lanes, [...this.#lanes].sort(), 'a lane has tasks, and a name');
    this.#all('place');
    assert.equal(this.#rows.place, placed, 'the lane is noted of stored segments only');
  }
  readonly #lanes = new Set<string>();
  readonly #openPlaces: [segment: number, open: number][] = [];

  /** Stored segments in which nothing is left to do; they go when they are met. */
  get overSegments(): number {
    return this.#openPlaces.filter(([, open]) => open === 0).length;
  }

  #isTaskHere(task: string): boolean {
    return !this.#done.has(task) && !this.#records.has(task);
  }

  #isRefHere(task: string, segment: number, index: number): boolean {
    const record = this.#records.get(task);
    if (record?.state !== 'ready' || record.readyIn !== segment || record.readyAt !== index) return false;
    this.#refs.set(task, (this.#refs.get(task) ?? 0) + 1);
    return true;
  }

  #checkRecord(key: string, record: TaskRecord): void {
    assert.equal(taskKey(record.segment, record.index), key);
    this.#refer(record.body);
    this.#refer(record.result);
    if (record.state === 'ready') {
      assert.equal(this.#refs.get(key), 1, 'a ready record is referred to once');
      return;
    }
    if (record.isDeleted) return;
    const { state, result, reason } = record;
    this.#tasks.set(key, { state, reason, ...(result === undefined ? {} : { result }) });
    this.#count(record.queue, record.state);
    if (record.state === 'scheduled') {
      if (record.attempts.length > 0) this.#count(record.queue, 'retrying');
      assert.ok(
        this.#tables.has('later', laterKey(record)),
        'a scheduled record is in the index of due times',
      );
    } else if (record.state !== 'blocked') {
      assert.ok(
        this.#tables.has('final', this.#finalKey(key, record)),
        'a final record is in the index of states',
      );
    }
  }

  #finalKey(key: string, record: TaskRecord): string {
    const queue = [...this.#queues].find(([, name]) => name === record.queue)![0];
    return FINAL_CODES[record.state as keyof typeof FINAL_CODES] + u16(queue) + u48(record.settledAt) + key;
  }

  #checkIndexes(): void {
    for (const [key] of this.#all('later')) {
      assert.equal(this.#records.get(key.slice(6))?.state, 'scheduled', 'what is due is scheduled');
    }
    for (const [key] of this.#all('final')) {
      const record = this.#records.get(key.slice(9));
      assert.ok(
        record !== undefined && isFinalRecord(record) && !record.isDeleted,
        'what is listed as final is',
      );
    }
    for (const [key] of this.#all('note')) assert.ok(this.#waiting.has(key), 'what is noted is not final');
    for (const table of ['expiry', 'unique', 'fact', 'meta'] as const) this.#all(table);
  }

  #checkCounters(): void {
    const stored: Record<string, Record<string, number>> = {};
    for (const [key, value] of this.#all('count')) {
      const row = Buffer.from(value);
      const counts = COUNTED.map((name, at) => [name, row.readDoubleBE(at * 8)] as const);
      const some = counts.filter(([, count]) => count !== 0);
      if (some.length > 0) stored[this.#queues.get(readU16(key, 0))!] = Object.fromEntries(some);
    }
    assert.deepEqual(stored, this.#counts, 'the counters equal a recount');
  }
}
