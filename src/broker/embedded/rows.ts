/**
 * The bytes of segments, done rows and records. Each carries a format number and a CRC-32, because LMDB has
 * no page checksums. Numbers are big-endian.
 *
 *     row      [format u8][kind u8][count u16][instant u48][0 u16][crc32 u32 of all the rest][items …]
 *     task     [body bytes u32][name u16][meta bytes u16][meta][body]
 *              in a segment of tasks; the row's instant is when they were created
 *     ref      [segment u48][index u16]
 *              in a segment of references
 *     results  [home 11 bytes: key prefix of the tasks' segment][created u48][result …]
 *              a done row; its instant is when they were settled
 *     result   [bytes u32][status u8][0 u8][name u16][started at f64][run ms f32][bytes]
 *     flow     [the plain codec's bytes of the values of a Flow, in order, or of the keys of its nodes]
 *     record   [the plain codec's bytes of the values of a TaskRecord, in order]
 */
import { crc32 } from 'node:zlib';
import { StoreCorruptError } from '../../errors.js';
import { getU48, putU48 } from './keys.js';

export const ROW_FORMAT = 1;
export const HEADER_BYTES = 16;
const CRC_AT = 12;
export const TASK_HEADER_BYTES = 8;
export const RESULT_HEADER_BYTES = 20;
export const REF_BYTES = 8;
/** Bytes of a key prefix: queue, lane, level. */
const HOME_BYTES = 11;
const RESULTS_AT = HEADER_BYTES + HOME_BYTES + 6;

/** What a row holds. */
export const ROW = { tasks: 0, refs: 1, results: 2, record: 3, note: 4, flow: 5 } as const;
export type RowKind = (typeof ROW)[keyof typeof ROW];

/** A result's status in a done row. */
export const RESULT = { completed: 0, deleted: 1 } as const;

export function writeHeader(row: Buffer, kind: RowKind, count: number, instant: number): void {
  row[0] = ROW_FORMAT;
  row[1] = kind;
  row.writeUInt16BE(count, 2);
  putU48(row, instant, 4);
  row.writeUInt16BE(0, 10);
  row.writeUInt32BE(checksum(row), CRC_AT);
}

function checksum(row: Buffer): number {
  return crc32(row.subarray(HEADER_BYTES), crc32(row.subarray(0, CRC_AT)));
}

export interface RowHeader {
  readonly row: Buffer;
  readonly kind: RowKind;
  readonly count: number;
  readonly instant: number;
}

/** @throws {StoreCorruptError} when format, kind or checksum do not fit. */
export function readHeader(bytes: Uint8Array, where: string, ...kinds: readonly RowKind[]): RowHeader {
  const row = asBuffer(bytes);
  if (row.length < HEADER_BYTES || row[0] !== ROW_FORMAT || !kinds.includes(row[1] as RowKind)) {
    throw new StoreCorruptError(where, 'a row has an unknown format');
  }
  if (checksum(row) !== row.readUInt32BE(CRC_AT)) {
    throw new StoreCorruptError(where, 'the checksum of a row does not match');
  }
  return { row, kind: row[1] as RowKind, count: row.readUInt16BE(2), instant: getU48(row, 4) };
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Wraps `content` as a row that holds one value. */
export function sealRow(kind: RowKind, content: Uint8Array, instant = 0): Buffer {
  const row = Buffer.allocUnsafe(HEADER_BYTES + content.length);
  row.set(content, HEADER_BYTES);
  writeHeader(row, kind, 1, instant);
  return row;
}

/** One finished task on the fast path. */
export interface PackedResult {
  /** Number of the task's name. */
  readonly name: number;
  readonly result: Uint8Array;
  readonly startedAt: number;
  readonly runMs: number;
  readonly isDeleted: boolean;
}

/** Packs results of consecutive tasks into one row. */
export function packResults(
  results: readonly PackedResult[],
  settledAt: number,
  home: { readonly prefix: string; readonly createdAt: number },
): Buffer {
  let bytes = RESULTS_AT;
  for (const { result, isDeleted } of results) bytes += RESULT_HEADER_BYTES + (isDeleted ? 0 : result.length);
  const row = Buffer.allocUnsafe(bytes);
  row.write(home.prefix, HEADER_BYTES, HOME_BYTES, 'latin1');
  putU48(row, home.createdAt, HEADER_BYTES + HOME_BYTES);
  let at = RESULTS_AT;
  for (const { name, result, startedAt, runMs, isDeleted } of results) {
    const size = isDeleted ? 0 : result.length;
    const status = isDeleted ? RESULT.deleted : RESULT.completed;
    row.writeUInt32BE(size, at);
    row.writeUInt32BE((status << 24) | name, at + 4);
    row.writeDoubleBE(startedAt, at + 8);
    row.writeFloatBE(runMs, at + 16);
    if (size > 0) row.set(result, at + RESULT_HEADER_BYTES);
    at += RESULT_HEADER_BYTES + size;
  }
  writeHeader(row, ROW.results, results.length, settledAt);
  return row;
}

/** Key prefix of the segment that the tasks of a done row came from. */
export function homeOf({ row }: RowHeader): string {
  return row.toString('latin1', HEADER_BYTES, HEADER_BYTES + HOME_BYTES);
}

export interface UnpackedResult extends PackedResult {
  readonly createdAt: number;
  readonly settledAt: number;
  /** Byte offset of its status in the row. */
  readonly statusAt: number;
}

/** All results of a done row in order. */
export function unpackResults(header: RowHeader): UnpackedResult[] {
  const results: UnpackedResult[] = [];
  let at = RESULTS_AT;
  for (let nth = 0; nth < header.count; nth++) {
    const result = readResult(header, at);
    results.push(result);
    at += RESULT_HEADER_BYTES + result.result.length;
  }
  return results;
}

function readResult({ row, instant }: RowHeader, at: number): UnpackedResult {
  const start = at + RESULT_HEADER_BYTES;
  return {
    result: row.subarray(start, start + row.readUInt32BE(at)),
    startedAt: row.readDoubleBE(at + 8),
    runMs: row.readFloatBE(at + 16),
    name: row.readUInt16BE(at + 6),
    createdAt: getU48(row, HEADER_BYTES + HOME_BYTES),
    settledAt: instant,
    statusAt: at + 4,
    isDeleted: row[at + 4] === RESULT.deleted,
  };
}

/** The done row without one of its results, whose bytes are wiped; the others keep their places. */
export function withoutResult(
  { row, count, instant }: RowHeader,
  { statusAt, result }: UnpackedResult,
): Buffer {
  const copy = Buffer.from(row);
  copy[statusAt] = RESULT.deleted;
  const start = statusAt - 4 + RESULT_HEADER_BYTES;
  copy.fill(0, start, start + result.length);
  writeHeader(copy, ROW.results, count, instant);
  return copy;
}
