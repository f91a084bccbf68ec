/** Finding one task by its id, and what may be done to it from outside: wait, cancel, redrive, delete. */
import { ResultExpiredError, UnknownTaskError, WrongStateError } from '../../errors.js';
import { parseId } from '../../task/id.js';
import { FRESH, type FinalState } from '../../task/task.js';
import type { CancelAnswer, Settled } from '../broker.js';
import { FLAG_LANE, FLAG_RECORD, type IdParts, readId } from './claim.js';
import { type Core, finalKey } from './core.js';
import { waitOn } from './intake.js';
import { PLAIN_LANE, levelPrefix, taskKey, u48 } from './keys.js';
import { readSegment } from './loading.js';
import type { Readying } from './readying.js';
import { laterKey, sealRecord, settledOf, type TaskRecord } from './record.js';
import { HEADER_BYTES, ROW, readHeader, RESULT, sealRow, type UnpackedResult, unpackResult } from './rows.js';
import { PLACE, type Segment } from './segment.js';
import type { Settling } from './settling.js';

/** Where a task is found; exactly one of these holds for every accepted task. */
export type Location =
  | { readonly kind: 'place'; readonly segment: Segment; readonly index: number; readonly isLoaded: boolean }
  | { readonly kind: 'record'; readonly record: TaskRecord }
  | { readonly kind: 'done'; readonly result: UnpackedResult; readonly rowKey: string; readonly id: IdParts };

export class Finals {
  readonly #core: Core;
  readonly #settling: Settling;
  readonly #readying: Readying;

  constructor(core: Core, settling: Settling, readying: Readying) {
    this.#core = core;
    this.#settling = settling;
    this.#readying = readying;
  }

  /** @throws {UnknownTaskError} {@link ResultExpiredError} */
  locate(id: string): Location {
    const bytes = parseId(id);
    const parts = bytes === undefined ? undefined : readId(bytes);
    if (parts === undefined || parts.store !== this.#core.storeNumber || parts.segment >= this.#core.nextSegment) {
      throw new UnknownTaskError(id);
    }
    const found = this.#find(parts);
    if (found === undefined || (found.kind === 'record' && found.record.isDeleted)) throw new ResultExpiredError(id);
    if (found.kind === 'done' && found.result.isDeleted) throw new ResultExpiredError(id);
    return found;
  }

  async settled(id: string): Promise<Settled> {
    const { commits, watchers } = this.#core;
    const found = this.locate(id);
    if (found.kind === 'done') {
      await commits.flushed();
      return { id, state: 'completed', result: new Uint8Array(found.result.result) };
    }
    if (found.kind === 'record' && isFinalRecord(found.record)) {
      await commits.flushed();
      return settledOf(found.record);
    }
    commits.check();
    if (found.kind === 'place' && found.isLoaded) {
      const outcome = found.segment.outcomes?.[found.index];
      return outcome ?? (await waitOn(found.segment, found.index));
    }
    const key = found.kind === 'place' ? taskKey(found.segment.number, found.index) : keyOf(found.record);
    return new Promise((resolve, reject) => {
      const tell = (settled: Settled | Error): void => (settled instanceof Error ? reject(settled) : resolve(settled));
      const waiting = watchers.get(key);
      if (waiting === undefined) watchers.set(key, [tell]);
      else waiting.push(tell);
    });
  }

  async cancel(id: string, reason: string, now: number, keepMs: number): Promise<CancelAnswer> {
    this.#core.commits.check();
    const answer = this.cancelNow(this.locate(id), reason, now, keepMs);
    if (answer.kind === 'cancelled') await this.#core.commits.changed();
    return answer;
  }

  /** Cancels without waiting for the flush. */
  cancelNow(found: Location, reason: string, now: number, keepMs: number): CancelAnswer {
    if (found.kind === 'done') return { kind: 'final', state: 'completed' };
    if (found.kind === 'place') return this.#cancelPlace(found.segment, found.index, reason, now, keepMs);
    const { record } = found;
    if (isFinalRecord(record)) return { kind: 'final', state: record.state as FinalState };
    const at = this.#core.refPlaces.get(keyOf(record));
    if (record.state === 'ready' && at !== undefined) {
      return this.#cancelPlace(at.segment, at.index, reason, now, keepMs);
    }
    if (record.state === 'scheduled') {
      this.#core.tables.delete('later', laterKey(record));
      this.#readying.uncountScheduled(record);
    } else {
      this.#core.counters.add(this.#core.queueNames.number(record.queue), 'ready', -1);
    }
    record.reason = reason;
    this.#settling.putFinal(record, 'cancelled', now, now + keepMs);
    return { kind: 'cancelled' };
  }

  #cancelPlace(segment: Segment, index: number, reason: string, now: number, keepMs: number): CancelAnswer {
    const claim = segment.claims[index];
    if (segment.places[index] === PLACE.claimed && claim !== undefined) return { kind: 'running', claim };
    if (segment.places[index] !== PLACE.waiting) return { kind: 'final', state: 'completed' };
    const record = this.#settling.toRecord(this.#core.newClaim(segment, index));
    record.reason = reason;
    this.#settling.putFinal(record, 'cancelled', now, now + keepMs);
    return { kind: 'cancelled' };
  }

  async redrive(id: string): Promise<void> {
    const { commits, tables, counters, queueNames } = this.#core;
    commits.check();
    const found = this.locate(id);
    const record = found.kind === 'record' ? found.record : undefined;
    if (record === undefined || (record.state !== 'dead' && record.state !== 'cancelled')) {
      throw new WrongStateError(id, record?.state ?? (found.kind === 'done' ? 'completed' : 'ready'), 'redriven');
    }
    const queue = queueNames.number(record.queue);
    tables.delete('final', finalKey(record.state, queue, record.settledAt, keyOf(record)));
    counters.add(queue, record.state, -1);
    record.tally = FRESH;
    record.reason = '';
    record.settledAt = record.expiresAt = 0;
    this.#readying.add(record, '');
    this.#core.wake();
    await commits.changed();
  }

  async delete(id: string): Promise<void> {
    const { commits, tables, counters, queueNames } = this.#core;
    commits.check();
    const found = this.locate(id);
    if (found.kind === 'done') {
      this.#deleteResult(found);
    } else {
      if (found.kind === 'place' || !isFinalRecord(found.record)) throw new WrongStateError(id, 'not final', 'deleted');
      const { record } = found;
      const queue = queueNames.number(record.queue);
      tables.delete('final', finalKey(record.state as FinalState, queue, record.settledAt, keyOf(record)));
      counters.add(queue, record.state as FinalState, -1);
      record.isDeleted = true;
      record.body = new Uint8Array(0);
      record.result = undefined;
      record.expiresAt = this.#core.now();
      tables.put('task', keyOf(record), sealRecord(record));
      commits.turn.expiries.add(record.expiresAt, 'task', keyOf(record));
    }
    await commits.changed();
  }

  /** A done row belongs to several tasks: marks one result as deleted and empties nothing else. */
  #deleteResult(found: Extract<Location, { kind: 'done' }>): void {
    const { tables, counters } = this.#core;
    const row = Buffer.from(tables.get('done', found.rowKey)!);
    row[found.result.statusAt] = RESULT.deleted;
    const { count, instant } = { count: row.readUInt16BE(2), instant: found.result.settledAt };
    const sealed = sealRow(ROW.results, row.subarray(HEADER_BYTES), instant);
    sealed.writeUInt16BE(count, 2);
    tables.put('done', found.rowKey, sealed);
    counters.add(found.id.queue, 'completed', -1);
  }

  #find(id: IdParts): Location | undefined {
    const core = this.#core;
    const key = taskKey(id.segment, id.index);
    if ((id.flags & FLAG_RECORD) === 0) {
      const segment = core.segments.get(id.segment);
      const place = segment?.places[id.index];
      if (segment !== undefined && place !== undefined && place !== PLACE.gone) {
        return { kind: 'place', segment, index: id.index, isLoaded: segment.resident };
      }
    }
    const record = core.getRecord(key);
    if (record !== undefined) {
      const at = core.refPlaces.get(key);
      return { kind: 'record', record: at?.segment.records[at.index] ?? record };
    }
    return this.#findDone(id, key) ?? this.#findStored(id);
  }

  #findDone(id: IdParts, key: string): Location | undefined {
    const { tables, where } = this.#core;
    const range = { start: taskKey(id.segment, 0), end: `${key}\0`, limit: 1, reverse: true };
    const [row] = tables.range('done', range);
    if (row === undefined) return undefined;
    const first = (row[0].charCodeAt(6) << 8) | row[0].charCodeAt(7);
    const result = unpackResult(readHeader(row[1], where, ROW.results), id.index - first);
    return result === undefined ? undefined : { kind: 'done', result, rowKey: row[0], id };
  }

  /** A task that waits in a segment which is only in the store. */
  #findStored(id: IdParts): Location | undefined {
    const { tables, lines, queueNames } = this.#core;
    let lane = PLAIN_LANE;
    let laneName = '';
    if ((id.flags & FLAG_LANE) !== 0) {
      const stored = tables.get('place', u48(id.segment));
      if (stored === undefined) return undefined;
      lane = Buffer.from(stored).toString('latin1');
      laneName = Buffer.from(tables.get('lane', lane) ?? []).toString('utf8');
    }
    const row = tables.get('ready', levelPrefix(id.queue, lane, id.level) + u48(id.segment));
    if (row === undefined) return undefined;
    const line = this.#core.line(queueNames.name(id.queue), laneName);
    const segment = readSegment(this.#core, lines.at(line, id.level), id.segment, row);
    if (segment?.places[id.index] !== PLACE.waiting) return undefined;
    segment.resident = false;
    return { kind: 'place', segment, index: id.index, isLoaded: false };
  }
}

export function isFinalRecord(record: TaskRecord): boolean {
  return record.state === 'completed' || record.state === 'dead' || record.state === 'cancelled';
}

export function keyOf(record: { readonly segment: number; readonly index: number }): string {
  return taskKey(record.segment, record.index);
}

