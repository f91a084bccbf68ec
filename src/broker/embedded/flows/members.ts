/** New members of flows, and what is known of a parent that is no member. Puts no rows of tasks. */
import { ResultExpiredError, UnknownTaskError } from '../../../errors.js';
import { formatId, ID_BYTES } from '../../../task/id.js';
import type { NewTask } from '../../../task/task.js';
import { FLAG_RECORD, readId, writeId } from '../claim.js';
import type { Core } from '../core.js';
import { metaOf } from '../intake.js';
import { taskKey } from '../keys.js';
import { locate } from '../locating.js';
import { blankRecord, type Membership, type TaskRecord } from '../record.js';
import type { FlowBook } from './book.js';
import { stateAt } from './graph.js';
import type { ParentState } from './rows.js';

/** Takes the next place of a flow. @returns its key. */
export function nextPlace(core: Core, book: FlowBook, number: number): string {
  const { chunks, nodes } = book.known(number);
  const at = nodes % core.flowChunk;
  const isNew = at === 0 && nodes > 0;
  const known = isNew ? [...chunks, core.nextSegment++] : chunks;
  book.change(number, { nodes: nodes + 1, chunks: known });
  return taskKey(known[known.length - 1]!, at);
}

/** The record of a new member, blocked, in the next place of its flow. */
export function newMember(
  core: Core,
  book: FlowBook,
  number: number,
  task: NewTask,
  flow: Membership,
): TaskRecord {
  const { segment, index } = placeOf(nextPlace(core, book, number));
  const { queue } = core.lanes.line(task.queue);
  const idBytes = new Uint8Array(ID_BYTES);
  const { storeNumber: store } = core;
  writeId(idBytes, 0, { store, segment, index, queue, level: task.level, flags: FLAG_RECORD });
  core.blobs?.gain(task.body);
  return {
    ...blankRecord(segment, index, idBytes, task, core.now()),
    meta: { ...metaOf(task), ...(task.lane === undefined ? {} : { lane: task.lane }), flow },
    runAt: task.runAt ?? 0,
    state: 'blocked',
  };
}

/** @throws {UnknownTaskError} {@link ResultExpiredError} */
export function stateOutside(core: Core, book: FlowBook, id: Uint8Array): ParentState {
  const text = formatId(id);
  const found = locate(core, text);
  const flow = found.kind === 'record' ? found.record.meta.flow : undefined;
  const phase = flow === undefined ? undefined : book.get(flow.number)?.phase;
  if (phase === 'staging') throw new UnknownTaskError(text);
  if (phase === 'deleted') throw new ResultExpiredError(text);
  return stateAt(found);
}

function placeOf(key: string): { readonly segment: number; readonly index: number } {
  return readId(Buffer.from(`\0\0\0\0${key}\0\0\0\0`, 'latin1'));
}
