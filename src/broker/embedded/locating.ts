/** Finds one task by its id, wherever it is. Changes nothing. */
import { ResultExpiredError, UnknownTaskError } from '../../errors.js';
import { parseId } from '../../task/id.js';
import { FLAG_LANE, FLAG_RECORD, type IdParts, readId } from './claim.js';
import type { Core } from './core.js';
import { levelPrefix, PLAIN_LANE, taskKey, u48 } from './keys.js';
import { readSegment } from './loading.js';
import { isInGap } from './numbering.js';
import type { TaskRecord } from './record.js';
import type { UnpackedResult } from './rows.js';
import { type FreshResult, PLACE, type Segment } from './segment.js';

/** Where a task is found; exactly one of these holds for every accepted task. */
export type Location =
  | { readonly kind: 'place'; readonly segment: Segment; readonly index: number; readonly isLoaded: boolean }
  | { readonly kind: 'record'; readonly record: TaskRecord }
  | { readonly kind: 'done'; readonly result: UnpackedResult; readonly rowKey: string; readonly id: IdParts };

/** @throws {UnknownTaskError} {@link ResultExpiredError} */
export function locate(core: Core, id: string): Location {
  const { storeNumber, nextSegment, tables } = core;
  const bytes = parseId(id);
  const parts = bytes === undefined ? undefined : readId(bytes);
  if (parts === undefined || parts.store !== storeNumber || parts.segment >= nextSegment) {
    throw new UnknownTaskError(id);
  }
  if (core.stages.hiding(parts.segment) !== undefined) {
    throw new UnknownTaskError(id);
  }
  const found = find(core, parts);
  const fresh = found?.kind === 'place' ? freshAt(found.segment, found.index) : undefined;
  if (fresh?.isDeleted === true) throw new ResultExpiredError(id);
  if (found === undefined && isInGap(tables, parts.segment)) throw new UnknownTaskError(id);
  if (found === undefined || (found.kind === 'record' && found.record.isDeleted))
    throw new ResultExpiredError(id);
  if (found.kind === 'done' && found.result.isDeleted) throw new ResultExpiredError(id);
  return found;
}

function find(core: Core, id: IdParts): Location | undefined {
  const key = taskKey(id.segment, id.index);
  if ((id.flags & FLAG_RECORD) === 0) {
    const segment = core.segments.get(id.segment);
    const place = segment?.isRefs === false ? segment.places[id.index] : undefined;
    if (segment !== undefined && place !== undefined && isStillIn(segment, id.index, place)) {
      return { kind: 'place', segment, index: id.index, isLoaded: segment.resident };
    }
  }
  const record = core.getRecord(key);
  if (record !== undefined) {
    const at = core.refPlaces.get(key);
    return { kind: 'record', record: at?.segment.records[at.index] ?? record };
  }
  return findDone(core, id) ?? findStored(core, id);
}

function findDone(core: Core, id: IdParts): Location | undefined {
  const found = core.doneRows.find(id.segment, id.index);
  return found === undefined ? undefined : { kind: 'done', ...found, id };
}

/** A task that waits in a segment which is only in the store. */
function findStored(core: Core, id: IdParts): Location | undefined {
  const { tables } = core;
  let lane = PLAIN_LANE;
  if ((id.flags & FLAG_LANE) !== 0) {
    const stored = tables.get('place', u48(id.segment));
    if (stored === undefined) return undefined;
    lane = Buffer.from(stored).toString('latin1');
  }
  const prefix = levelPrefix(id.queue, lane, id.level);
  const row = tables.get('ready', prefix + u48(id.segment));
  if (row === undefined) return undefined;
  const segment = readSegment(core, core.lanes.levelQueue(prefix), id.segment, row, 'look');
  if (segment === undefined || segment.isRefs || segment.places[id.index] !== PLACE.waiting) return undefined;
  return { kind: 'place', segment, index: id.index, isLoaded: false };
}
/** Waiting or claimed there, or settled so freshly that there is no row of it yet. */
function isStillIn(segment: Segment, index: number, place: number): boolean {
  if (place === PLACE.settled) return freshAt(segment, index) !== undefined;
  return place !== PLACE.gone;
}

/** Its result, on its way into a row. */
export function freshAt(segment: Segment, index: number): FreshResult | undefined {
  return segment.fresh.find((entry) => entry.index === index);
}
