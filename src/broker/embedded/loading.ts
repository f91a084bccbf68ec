/** Reading segments back from the store when the window in memory has run out. */
import { StoreCorruptError } from '../../errors.js';
import { type Core, segmentRange } from './core.js';
import { readU16, readU48, taskKey, u48 } from './keys.js';
import type { LevelQueue } from './lines.js';
import { REF_BYTES, ROW, HEADER_BYTES, readHeader, TASK_HEADER_BYTES } from './rows.js';
import { Segment } from './segment.js';

const SEGMENTS_PER_READ = 16;

/** Appends the next stored segments of a level to its window. */
export function refill(core: Core, queue: LevelQueue): void {
  while (queue.spilledFrom !== undefined && queue.segments.length === 0) {
    const start = queue.prefix + u48(queue.spilledFrom);
    const end = queue.prefix + u48(core.flushedUpTo + 1);
    const rows = start < end ? core.tables.range('ready', { start, end, limit: SEGMENTS_PER_READ }) : [];
    for (const [key, row] of rows) {
      const number = readU48(key, 11);
      queue.spilledFrom = number + 1;
      const segment = readSegment(core, queue, number, row);
      if (segment === undefined) continue;
      core.segments.set(number, segment);
      if (segment.left === 0) {
        core.commits.turn.touched.add(segment);
        void core.commits.changed();
        continue;
      }
      core.residentTasks += segment.waiting;
      queue.segments.push(segment);
    }
    if (rows.length < SEGMENTS_PER_READ) {
      if (queue.unflushed === 0) queue.spilledFrom = undefined;
      return;
    }
  }
}

/** A stored segment as one in memory; `undefined`, and reported, when its row is damaged. */
export function readSegment(core: Core, queue: LevelQueue, number: number, bytes: Uint8Array): Segment | undefined {
  try {
    const { row, kind, count, instant } = readHeader(bytes, core.where, ROW.tasks, ROW.refs);
    const segment = new Segment(number, queue, instant, kind === ROW.refs ? 'refs' : 'tasks', false);
    if (kind === ROW.refs) adoptRefs(core, segment, row, count);
    else adoptTasks(core, segment, row, count);
    return segment;
  } catch (error) {
    core.onCorrupt(error as Error);
    return undefined;
  }
}

function adoptTasks(core: Core, segment: Segment, row: Buffer, count: number): void {
  const offsets: number[] = [];
  let at = HEADER_BYTES;
  for (let index = 0; index < count; index++) {
    if (at + TASK_HEADER_BYTES > row.length) throw new StoreCorruptError(core.where, 'a segment is too short');
    offsets.push(at);
    at += TASK_HEADER_BYTES + row.readUInt16BE(at + 6) + row.readUInt32BE(at);
  }
  const gone = goneFrom(core, segment.number);
  segment.adopt(row, offsets, (index) => gone.has(index));
  markSuspects(core, segment, (index) => taskKey(segment.number, index));
}

/** Indexes of a segment's tasks that are settled or have a record of their own. */
function goneFrom(core: Core, number: number): Set<number> {
  const gone = new Set<number>();
  const range = { ...segmentRange(number), limit: 65_536 };
  for (const [key, row] of core.tables.range('done', range)) {
    const first = readU16(key, 6);
    const { count } = readHeader(row, core.where, ROW.results);
    for (let nth = 0; nth < count; nth++) gone.add(first + nth);
  }
  for (const [key] of core.tables.range('task', range)) gone.add(readU16(key, 6));
  return gone;
}

function adoptRefs(core: Core, segment: Segment, row: Buffer, count: number): void {
  const offsets: number[] = [];
  for (let index = 0; index < count; index++) {
    const at = HEADER_BYTES + index * REF_BYTES;
    offsets.push(at);
    const key = row.toString('latin1', at, at + REF_BYTES);
    const record = core.getRecord(key);
    const isHere = record !== undefined && record.state === 'ready' && record.readyIn === segment.number;
    segment.records.push(isHere ? record : undefined);
    if (isHere) core.refPlaces.set(key, { segment, index });
  }
  segment.adopt(row, offsets, (index) => segment.records[index] === undefined);
  markSuspects(core, segment, (index) => row.toString('latin1', offsets[index]!, offsets[index]! + REF_BYTES));
}

function markSuspects(core: Core, segment: Segment, keyOf: (index: number) => string): void {
  if (core.suspects.size === 0) return;
  for (let index = 0; index < segment.count; index++) {
    if (core.suspects.has(keyOf(index))) (segment.suspects ??= new Set()).add(index);
  }
}
