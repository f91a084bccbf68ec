/** What may be done to one task from outside: wait, cancel, redrive, delete. */
import { DuplicateTaskError, WrongStateError } from '../../errors.js';
import { formatId } from '../../task/id.js';
import { laneKind } from '../../task/lane.js';
import { type FinalState, FRESH } from '../../task/task.js';
import type { CancelAnswer, Settled } from '../broker.js';
import { readId } from './claim.js';
import { type Core, finalKey } from './core.js';
import { levelPrefix, PLAIN_LANE, taskKey, u48 } from './keys.js';
import { freshAt, type Location, locate } from './locating.js';
import type { Readying } from './readying.js';
import { isFinalRecord, laterKey, sealRecord, settledOf, type TaskRecord } from './record.js';
import { ROW, readHeader, withoutResult } from './rows.js';
import { PLACE, type Segment } from './segment.js';
import type { Settling } from './settling.js';
import { parkedKey } from './staging/ranges.js';
import type { Uniques } from './uniques.js';
import type { Waiter } from './waiters.js';

export class Finals {
  readonly #core: Core;
  readonly #settling: Settling;
  readonly #readying: Readying;
  readonly #uniques: Uniques;

  constructor(core: Core, settling: Settling, readying: Readying, uniques: Uniques) {
    this.#core = core;
    this.#settling = settling;
    this.#readying = readying;
    this.#uniques = uniques;
  }

  /** @throws {UnknownTaskError} {@link ResultExpiredError} */
  locate(id: string): Location {
    return locate(this.#core, id);
  }

  async settled(id: string): Promise<Settled> {
    const { commits, waiters } = this.#core;
    commits.checkOpen();
    const found = this.locate(id);
    if (found.kind === 'done') {
      return this.#flushed({ id, state: 'completed', result: new Uint8Array(found.result.result) });
    }
    if (found.kind === 'record') {
      if (!isFinalRecord(found.record)) return waiters.onKey(keyOf(found.record));
      return this.#flushed(settledOf(found.record));
    }
    if (found.isLoaded) return waiters.onPlace(found.segment, found.index);
    return waiters.onKey(taskKey(found.segment.number, found.index));
  }

  /**
   * As {@link settled}, for a task that this process placed: cheap also when its segment has been spilled.
   */
  settledAt(segment: Segment, index: number): Promise<Settled> {
    const outcome = segment.outcomes?.[index];
    if (outcome !== undefined) return Promise.resolve(outcome);
    const isGone = segment.places[index] === PLACE.gone;
    if (!isGone && (segment.resident || !segment.isFlushed))
      return this.#core.waiters.onPlace(segment, index);
    return isGone
      ? this.settled(this.#core.newClaim(segment, index).id)
      : this.settledById(this.#core.newClaim(segment, index).idBytes());
  }

  /** As {@link settled}. Looks for what says most of a spilled task without reading its segment. */
  async settledById(bytes: Uint8Array): Promise<Settled> {
    const { commits, waiters, tables, segments, doneRows } = this.#core;
    const { segment, index, queue, level, flags } = readId(bytes);
    const key = taskKey(segment, index);
    if (flags === 0 && commits.ended === undefined && !segments.has(segment) && !tables.has('task', key)) {
      const done = doneRows.find(segment, index);
      const readyKey = levelPrefix(queue, PLAIN_LANE, level) + u48(segment);
      if (done === undefined && tables.has('ready', readyKey)) return waiters.onKey(key);
      if (done?.result.isDeleted === false) {
        const result = new Uint8Array(done.result.result);
        return this.#flushed({ id: formatId(bytes), state: 'completed', result });
      }
    }
    return this.settled(formatId(bytes));
  }

  /** With its whole result, once it is flushed. The file is held from now on, whatever happens meanwhile. */
  async #flushed(settled: Settled): Promise<Settled> {
    const { commits, waiters } = this.#core;
    const [whole] = await Promise.all([waiters.whole(settled), commits.flushed()]);
    return whole;
  }

  /** As {@link settledAt}, without a promise where the segment will know. */
  tellAt(segment: Segment, index: number, tell: Waiter): void {
    const { waiters } = this.#core;
    const willKnow = segment.places[index] !== PLACE.gone && (segment.resident || !segment.isFlushed);
    if (willKnow && segment.outcomes?.[index] === undefined && waiters.ended === undefined) {
      waiters.tellAt(segment, index, tell);
    } else {
      const told = (settled: Settled | Error): void => tell.told(settled);
      this.settledAt(segment, index).then(told, told);
    }
  }

  async cancel(id: string, reason: string, now: number, keepMs: number): Promise<CancelAnswer> {
    const { commits } = this.#core;
    commits.check();
    const answer = this.cancelNow(this.locate(id), reason, now, keepMs);
    if (answer.kind === 'cancelled') await commits.changed();
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
      if (this.#core.stages.isLinking(record.segment)) {
        this.#core.tables.delete('later', parkedKey(keyOf(record)));
      }
      this.#readying.uncountScheduled(record);
    } else if (record.state === 'blocked') {
      this.#core.flows.unblock(record);
    } else {
      const queue = this.#core.queueNames.number(record.queue);
      this.#core.counters.add(queue, 'ready', -1);
      if (laneKind(record.lane) === 'aside') this.#core.counters.add(queue, 'unhandled', -1);
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
      throw new WrongStateError(
        id,
        record?.state ?? (found.kind === 'done' ? 'completed' : 'ready'),
        'redriven',
      );
    }
    if (record.meta.flow !== undefined) {
      this.#core.flows.redriveMember(record);
      await commits.changed();
      return;
    }
    this.takeUnique(record);
    const queue = queueNames.number(record.queue);
    tables.delete('final', finalKey(record.state, queue, record.settledAt, keyOf(record)));
    counters.add(queue, record.state, -1);
    record.tally = FRESH;
    record.reason = '';
    record.settledAt = record.expiresAt = 0;
    this.#readying.add(record, record.meta.lane ?? '');
    this.#core.wake();
    this.#core.flows.redriven(keyOf(record));
    await commits.changed();
  }

  /** A task that goes round again holds its unique key again. */
  takeUnique({ name, meta: { unique }, idBytes }: TaskRecord): void {
    if (unique === undefined) return;
    const holder = this.#uniques.holder(name, unique.key);
    if (holder !== undefined && Buffer.compare(holder, idBytes) !== 0) {
      throw new DuplicateTaskError(unique.key, formatId(holder));
    }
    if (holder === undefined) this.#uniques.take(name, unique, idBytes, this.#core.now());
  }

  async delete(id: string): Promise<void> {
    const { commits, tables, counters } = this.#core;
    commits.check();
    const found = this.locate(id);
    if (found.kind === 'done') {
      const header = readHeader(tables.get('done', found.rowKey)!, this.#core.where, ROW.results);
      tables.put('done', found.rowKey, withoutResult(header, found.result));
      this.#core.doneRows.changed();
      this.#core.blobs?.lose(found.result.result);
      counters.add(found.id.queue, 'completed', -1);
    } else if (found.kind === 'record') {
      if (!isFinalRecord(found.record)) throw new WrongStateError(id, 'not final', 'deleted');
      if (found.record.meta.flow !== undefined) {
        throw new WrongStateError(id, 'a member of a flow', 'deleted without it');
      }
      this.#deleteRecord(found.record);
    } else {
      const fresh = freshAt(found.segment, found.index);
      if (fresh === undefined) throw new WrongStateError(id, 'not final', 'deleted');
      fresh.isDeleted = true;
      this.#core.blobs?.lose(fresh.result);
      counters.add(found.segment.line.line.queue, 'completed', -1);
    }
    await commits.changed();
  }

  /** The record itself stays for its home segment, emptied, until it is pruned. */
  #deleteRecord(record: TaskRecord): void {
    const { commits, tables, counters, queueNames } = this.#core;
    const queue = queueNames.number(record.queue);
    tables.delete('final', finalKey(record.state as FinalState, queue, record.settledAt, keyOf(record)));
    counters.add(queue, record.state as FinalState, -1);
    this.#core.blobs?.lose(record.body);
    this.#core.blobs?.lose(record.result);
    record.isDeleted = true;
    record.body = new Uint8Array(0);
    record.result = undefined;
    record.progress = undefined;
    record.logs = record.attempts = [];
    record.expiresAt = this.#core.now();
    tables.put('task', keyOf(record), sealRecord(record));
    commits.turn.expiries.add(record.expiresAt, 'task', keyOf(record));
  }
}

function keyOf(record: { readonly segment: number; readonly index: number }): string {
  return taskKey(record.segment, record.index);
}
