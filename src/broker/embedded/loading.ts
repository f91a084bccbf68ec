/** Reading segments back from the store when the window in memory has run out. */
import { StoreCorruptError } from '../../errors.js';
import { type Core, segmentRange } from './core.js';
import { readU16, readU48, taskKey, u48 } from './keys.js';
import type { LevelQueue } from './line.js';
import { HEADER_BYTES, REF_BYTES, ROW, readHeader, TASK_HEADER_BYTES } from './rows.js';
import { Segment } from './segment.js';

/** One refill ends after so many segments or bytes; after the first when the window is full. */
const SEGMENTS_PER_REFILL = 16;
const BYTES_PER_REFILL = 1024 * 1024;

/** Puts the next stored segments of a level into its window, which is empty. */
export function refill(core: Core, queue: LevelQueue): void {
  let bytes = 0;
  if (core.isWindowFull) core.room.make('evict others');
  for (let read = 0; read < SEGMENTS_PER_REFILL && bytes < BYTES_PER_REFILL; ) {
    if (queue.spilledFrom === undefined || (queue.segments.length > 0 && core.isWindowFull)) return;
    const start = queue.prefix + u48(queue.spilledFrom);
    const end = queue.prefix + u48(core.flushedUpTo + 1);
    const [found] = start < end ? core.tables.range('ready', { start, end, limit: 1 }) : [];
    if (found === undefined) {
      if (queue.unflushed > 0) return;
      core.lines.spill(queue, undefined);
      if (queue.line.live > 0 || queue.line.kind === 'plain') return;
      core.idleLines.add(queue.line);
      core.commits.changed();
      return;
    }
    const number = readU48(found[0], 11);
    const hidden = core.stages.hiding(number);
    core.lines.spill(queue, hidden?.end ?? number + 1);
    // A batch that was staged stands before segments that are here already.
    if (hidden !== undefined || core.segments.has(number)) continue;
    const segment = readSegment(core, queue, number, found[1], 'hold');
    if (segment === undefined) continue;
    core.hold(segment);
    if (segment.left === 0) {
      core.commits.turn.touched.add(segment);
      core.commits.changed();
      continue;
    }
    read++;
    bytes += segment.heldBytes;
    core.waitingChanged(segment, segment.waiting);
    core.residentBytes += segment.heldBytes;
    queue.segments.push(segment);
    if (queue.line.kind === 'limit') core.room.note(queue.line);
  }
}

/**
 * A stored segment as one in memory; `undefined`, and reported, when its row is damaged.
 * @param purpose  `hold`: it becomes the one that others find. `look`: somebody reads it and lets it go.
 */
export function readSegment(
  core: Core,
  queue: LevelQueue,
  number: number,
  bytes: Uint8Array,
  purpose: 'hold' | 'look',
): Segment | undefined {
  return core.tryRead(() => {
    const { row, kind, count, instant } = readHeader(bytes, core.where, ROW.tasks, ROW.refs);
    const segment = new Segment(number, queue, instant, kind === ROW.refs ? 'refs' : 'tasks');
    if (kind === ROW.refs) adoptRefs(core, segment, row, count);
    else adoptTasks(core, segment, row, count);
    if (purpose === 'look') segment.resident = false;
    else holdRefs(core, segment);
    return segment;
  });
}

function adoptTasks(core: Core, segment: Segment, row: Buffer, count: number): void {
  const offsets: number[] = [];
  let at = HEADER_BYTES;
  for (let index = 0; index < count; index++) {
    if (at + TASK_HEADER_BYTES > row.length)
      throw new StoreCorruptError(core.where, 'a segment is too short');
    offsets.push(at);
    at += TASK_HEADER_BYTES + row.readUInt16BE(at + 6) + row.readUInt32BE(at);
  }
  const gone = goneFrom(core, segment.number);
  segment.heldBytes = row.length;
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
  segment.heldBytes = row.length;
  for (let index = 0; index < count; index++) {
    const at = HEADER_BYTES + index * REF_BYTES;
    offsets.push(at);
    const record = core.tryRead(() => core.getRecord(row.toString('latin1', at, at + REF_BYTES)));
    const isHere = record?.state === 'ready' && record.readyIn === segment.number && record.readyAt === index;
    segment.records.push(isHere ? record : undefined);
    if (isHere) segment.heldBytes += record.body.length;
  }
  segment.adopt(row, offsets, (index) => segment.records[index] === undefined);
  markSuspects(core, segment, (index) =>
    row.toString('latin1', offsets[index]!, offsets[index]! + REF_BYTES),
  );
}

function holdRefs(core: Core, segment: Segment): void {
  segment.records.forEach((record, index) => {
    if (record !== undefined) core.refPlaces.set(taskKey(record.segment, record.index), { segment, index });
  });
}

function markSuspects(core: Core, segment: Segment, keyOf: (index: number) => string): void {
  if (core.suspects.size === 0) return;
  for (let index = 0; index < segment.count; index++) {
    if (core.suspects.has(keyOf(index))) segment.addSuspect(index);
  }
}
