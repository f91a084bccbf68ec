/**
 * Records that become ready: promoted, redriven, or moved aside. They join their line behind all that is
 * there.
 */
import type { EmbeddedClaim } from './claim.js';
import type { Core } from './core.js';
import { readU48, taskKey, u48 } from './keys.js';
import { laterKey, sealRecord, type TaskRecord } from './record.js';
import { REF_BYTES } from './rows.js';
import { SEGMENT_TASKS } from './segment.js';
import type { Settling } from './settling.js';
import { PARKED } from './staging/ranges.js';

/** What a record takes in memory beside its payload, about. */
const RECORD_BYTES = 512;

export class Readying {
  readonly #core: Core;
  readonly #settling: Settling;

  constructor(core: Core, settling: Settling) {
    this.#core = core;
    this.#settling = settling;
  }

  /** Puts a record at the end of a line. The caller has taken it from where it was. */
  add(record: TaskRecord, lane: string, suspect = false): void {
    const core = this.#core;
    const line = core.lanes.line(record.queue, lane);
    const queue = line.at(record.level);
    let segment = queue.open;
    if (segment === undefined || !segment.isRefs || segment.sealed || segment.count >= SEGMENT_TASKS) {
      segment = core.openSegment(queue, core.now(), 'refs');
    }
    const key = taskKey(record.segment, record.index);
    const index = segment.addRef(record);
    record.state = 'ready';
    record.lane = lane;
    record.readyIn = segment.number;
    record.readyAt = index;
    if (suspect) segment.addSuspect(index);
    if (core.commits.isHeld(key) && index < segment.heldFrom) segment.heldFrom = index;
    core.admit(segment, REF_BYTES + RECORD_BYTES + record.body.length);
    core.refPlaces.set(key, { segment, index });
    core.tables.put('task', key, sealRecord(record));
    core.counters.add(line.queue, 'ready', 1);
    if (line.kind === 'aside') core.counters.add(line.queue, 'unhandled', 1);
  }

  /** Moves a claimable task aside because nobody handles its name. */
  park(claim: EmbeddedClaim): void {
    const record = this.#settling.toRecord(claim);
    this.add(record, record.name, claim.suspect);
    this.#core.commits.changed();
  }

  /** Moves a claimable task to the lane that it belongs to from now on. */
  moveAside(claim: EmbeddedClaim, lane: string): void {
    const record = this.#settling.toRecord(claim);
    record.meta = { ...record.meta, lane };
    this.add(record, lane, claim.suspect);
    this.#core.commits.changed();
  }

  /** Makes due records ready, earliest first. @returns how many. */
  promote(now: number, limit: number): number {
    const { tables, commits } = this.#core;
    const rows = tables.range('later', { start: '', end: u48(now + 1), limit });
    for (const [key] of rows) {
      tables.delete('later', key);
      const record = this.#core.tryRead(() => this.#core.getRecord(key.slice(6)));
      if (record === undefined || record.state !== 'scheduled' || laterKey(record) !== key) continue;
      this.uncountScheduled(record);
      this.add(record, record.meta.lane ?? '');
    }
    if (rows.length > 0) {
      commits.changed();
      this.#core.wake();
    }
    return rows.length;
  }

  nextDueAt(): number | undefined {
    const [row] = this.#core.tables.range('later', { start: '', end: '\u0100', limit: 1 });
    // Behind all others: those that are endless, and those of a batch that is not accepted or not linked yet.
    return row === undefined || row[0].startsWith(PARKED) ? undefined : readU48(row[0], 0);
  }

  uncountScheduled(record: TaskRecord): void {
    const queue = this.#core.queueNames.number(record.queue);
    this.#core.counters.add(queue, 'scheduled', -1);
    if (record.attempts.length > 0) this.#core.counters.add(queue, 'retrying', -1);
  }
}
