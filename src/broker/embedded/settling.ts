/**
 * How claims end: the fast path packs results into done rows, everything else becomes a record of its own.
 */
import type { NewTask } from '../../task/task.js';
import type { Settlement } from '../broker.js';
import type { Otherwise } from '../settlement.js';
import type { EmbeddedClaim } from './claim.js';
import { type Core, finalKey } from './core.js';
import { taskKey } from './keys.js';
import type { TaskRecord } from './record.js';
import * as records from './record.js';
import { PLACE } from './segment.js';
import type { Uniques } from './uniques.js';

type Final = Extract<Settlement, { kind: 'completed' | 'dead' | 'cancelled' }>;

export class Settling {
  readonly #core: Core;
  readonly #uniques: Uniques;
  readonly #enqueue: (batch: readonly NewTask[]) => void;
  /** Settlements refused because their claim had ended before. */
  lost = 0;

  constructor(core: Core, uniques: Uniques, enqueue: (batch: readonly NewTask[]) => void) {
    this.#core = core;
    this.#uniques = uniques;
    this.#enqueue = enqueue;
  }

  settle(settlements: readonly Settlement[], otherwise?: Otherwise): Promise<void> {
    const { commits } = this.#core;
    if (commits.ended !== undefined) return Promise.reject(commits.ended);
    let isReady = false;
    let isChanged = false;
    for (const settlement of settlements) {
      const claim = settlement.claim as EmbeddedClaim;
      if (claim.isOver) {
        this.lost++;
        continue;
      }
      claim.isOver = true;
      claim.segment.claims[claim.index] = undefined;
      const isMember = claim.record?.meta.flow !== undefined;
      const ending = isMember ? this.#core.flows.settlementOf(claim.record, settlement) : settlement;
      if (ending !== settlement) otherwise?.(settlement, ending);
      if (ending.kind === 'released') {
        this.#release(claim, ending.suspect);
        isReady = true;
        continue;
      }
      isChanged = true;
      if (claim.suspect) this.#core.clearSuspect(claim.key);
      // Before the task ends, so that its flow does not.
      if (ending.next !== undefined) {
        this.#enqueue(isMember ? this.#core.flows.add(claim.record, ending.next) : ending.next);
        isReady = true;
      }
      if (ending.kind === 'scheduled') this.#schedule(claim, ending);
      else if (isFast(claim, ending)) this.#complete(claim, ending);
      else this.#finish(claim, ending);
    }
    if (isReady) this.#core.wake();
    return isChanged ? commits.changed() : commits.flushed();
  }

  /** Takes a place out of its segment, whose row goes when nothing is left. */
  leave(claim: EmbeddedClaim, as: typeof PLACE.settled | typeof PLACE.gone): void {
    const core = this.#core;
    const { segment, index } = claim;
    if (segment.resident && segment.places[index] === PLACE.waiting) core.waitingChanged(segment, -1);
    segment.remove(index, as);
    if (claim.record !== undefined) core.refPlaces.delete(claim.key);
    core.commits.turn.touched.add(segment);
    core.counters.add(segment.line.line.queue, 'ready', -1);
    if (segment.line.line.kind === 'aside') core.counters.add(segment.line.line.queue, 'unhandled', -1);
  }

  /** Ends a record that is in no segment (any more). */
  putFinal(
    record: TaskRecord,
    state: 'completed' | 'dead' | 'cancelled',
    settledAt: number,
    expiresAt: number,
  ): void {
    const { tables, counters, commits, queueNames } = this.#core;
    const key = taskKey(record.segment, record.index);
    const queue = queueNames.number(record.queue);
    record.state = state;
    record.readyIn = 0;
    record.settledAt = settledAt;
    // A member is kept as long as its flow.
    record.expiresAt = record.meta.flow === undefined ? expiresAt : Number.POSITIVE_INFINITY;
    tables.put('task', key, records.sealRecord(record));
    tables.put('final', finalKey(state, queue, settledAt, key), records.EMPTY);
    counters.add(queue, state, 1);
    commits.turn.expiries.add(record.expiresAt, 'task', key);
    this.#core.transfers.delete(key);
    if (record.meta.unique !== undefined) this.#uniques.free(record.name, record.meta.unique, record.idBytes);
    // Who comes later may wait for another end: the task can be redriven before this one is flushed.
    const waiting = this.#core.waiters.takeKey(key);
    if (waiting !== undefined) commits.turn.settled.push({ waiting, settled: records.settledOf(record) });
    this.#core.flows.ended(key, state, record);
  }

  #release(claim: EmbeddedClaim, suspect: boolean): void {
    const { segment, index } = claim;
    segment.unclaim(index);
    if (segment.resident) this.#core.waitingChanged(segment, 1);
    if (suspect) segment.addSuspect(index);
    segment.line.insert(segment);
    this.#core.lines.wake(segment.line);
  }

  #complete(claim: EmbeddedClaim, settlement: Extract<Settlement, { kind: 'completed' }>): void {
    const { segment, index } = claim;
    const { startedAt, runMs } = settlement.attempt!;
    const { blobs } = this.#core;
    if (blobs !== undefined) {
      blobs.gain(settlement.result);
      // Of what completed at once only the result is kept.
      if (segment.isBlobAt(index)) blobs.lose(segment.bodyAt(index));
    }
    segment.fresh.push({
      index,
      name: segment.nameAt(index),
      result: settlement.result,
      startedAt,
      runMs,
      settledAt: settlement.settledAt,
      expiresAt: settlement.expiresAt,
      isDeleted: false,
    });
    this.leave(claim, PLACE.settled);
    this.#core.counters.add(segment.line.line.queue, 'completed', 1);
    if (this.#core.transfers.size > 0) this.#core.transfers.delete(claim.key);
    if (this.#core.flows.outside.size > 0) this.#core.flows.ended(claim.key, 'completed');
    if (segment.metaBytesAt(index) > 0 && claim.meta.unique !== undefined) {
      this.#uniques.free(claim.name, claim.meta.unique, claim.idBytes());
    }
  }

  #finish(claim: EmbeddedClaim, settlement: Final): void {
    const record = this.toRecord(claim, settlement);
    if (settlement.kind === 'completed') {
      record.result = settlement.result.slice();
      this.#core.blobs?.gain(record.result);
    } else record.reason = settlement.reason;
    this.putFinal(record, settlement.kind, settlement.settledAt, settlement.expiresAt);
  }

  #schedule(claim: EmbeddedClaim, settlement: Extract<Settlement, { kind: 'scheduled' }>): void {
    const { tables, counters } = this.#core;
    const { queue } = claim.segment.line.line;
    const record = this.toRecord(claim, settlement);
    record.state = 'scheduled';
    record.readyIn = 0;
    record.runAt = settlement.runAt;
    tables.put('task', taskKey(record.segment, record.index), records.sealRecord(record));
    tables.put('later', records.laterKey(record), records.EMPTY);
    counters.add(queue, 'scheduled', 1);
    if (record.attempts.length > 0) counters.add(queue, 'retrying', 1);
  }

  /** The task's record, taken out of its segment, with what this settlement adds to it. */
  toRecord(claim: EmbeddedClaim, settlement?: Exclude<Settlement, { kind: 'released' }>): TaskRecord {
    const record = recordOf(claim);
    this.#takeNote(claim, record);
    if (settlement !== undefined) {
      record.tally = settlement.tally;
      record.attempts = records.addAttempt(record.attempts, settlement.attempt);
      if (settlement.progress !== undefined) record.progress = settlement.progress;
      if (settlement.logs !== undefined) record.logs = settlement.logs;
    }
    this.#core.waiters.move(claim.segment, claim.index);
    this.leave(claim, PLACE.gone);
    return record;
  }

  /** What was noted while the task ran goes into its record. */
  #takeNote(claim: EmbeddedClaim, record: TaskRecord): void {
    if (!isNoted(claim)) return;
    const { tables } = this.#core;
    const note = this.#core.tryRead(() => records.decodeNote(tables.get('note', claim.key)));
    if (note?.progress !== undefined) record.progress = note.progress;
    if (note?.logs !== undefined) record.logs = note.logs;
    tables.delete('note', claim.key);
  }
}

/** A copy of the task as a record, whether it has one already or not. */
export function recordOf(claim: EmbeddedClaim): TaskRecord {
  if (claim.record !== undefined) return claim.record;
  const { segment, index } = claim;
  const { name, queue, level } = claim;
  const task = { name, queue, level, body: new Uint8Array(claim.body) };
  const blank = records.blankRecord(segment.number, index, claim.idBytes(), task, claim.createdAt);
  const { meta, limitLane: lane } = claim;
  const kept = lane === '' ? meta : { ...meta, lane };
  return { ...blank, meta: kept, home: segment.line.prefix, state: 'ready' };
}

/** A first attempt that completed and left nothing but its result. */
function isFast(
  claim: EmbeddedClaim,
  settlement: Final,
): settlement is Extract<Final, { kind: 'completed' }> {
  if (settlement.kind !== 'completed' || claim.record !== undefined || settlement.attempt === undefined)
    return false;
  // A done row keeps no options: what must stay hidden needs a record that says so.
  if (claim.options?.sensitive === true) return false;
  return settlement.progress === undefined && settlement.logs === undefined && !isNoted(claim);
}

/** A suspect may have been noted by the owner that died. */
function isNoted({ segment, index }: EmbeddedClaim): boolean {
  return segment.noted?.has(index) === true || segment.suspects?.has(index) === true;
}
