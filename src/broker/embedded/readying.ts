/** Records that become ready: promoted, redriven, or moved aside. They join their line behind all that is there. */
import { PLAIN_LANE, readU48, taskKey, u48 } from './keys.js';
import type { Core } from './core.js';
import type { EmbeddedClaim } from './claim.js';
import { laterKey, sealRecord, type TaskRecord } from './record.js';
import { SEGMENT_TASKS } from './segment.js';
import type { Settling } from './settling.js';

export class Readying {
  readonly #core: Core;
  readonly #settling: Settling;

  constructor(core: Core, settling: Settling) {
    this.#core = core;
    this.#settling = settling;
  }

  /** Puts a record at the end of a line. The caller has taken it from where it was. */
  add(record: TaskRecord, lane: string): void {
    const core = this.#core;
    const line = core.line(record.queue, lane);
    const queue = core.lines.at(line, record.level);
    let segment = queue.openRefs;
    if (segment === undefined || segment.sealed || segment.count >= SEGMENT_TASKS) {
      if (segment !== undefined) segment.sealed = true;
      segment = queue.openRefs = core.newSegment(queue, core.now(), 'refs');
      core.commits.turn.newSegments.push(segment);
    } else if (segment.resident && segment.waiting === 0) {
      queue.insert(segment);
      core.lines.wake(queue);
    }
    const key = taskKey(record.segment, record.index);
    record.state = 'ready';
    record.lane = lane;
    record.readyIn = segment.number;
    const index = segment.addRef(record);
    if (segment.resident) core.residentTasks++;
    core.refPlaces.set(key, { segment, index });
    core.tables.put('task', key, sealRecord(record));
    core.counters.add(line.queue, 'ready', 1);
    if (lane !== '' && line.lane !== PLAIN_LANE) core.counters.add(line.queue, 'unhandled', 1);
  }

  /** Moves a claimable task aside because nobody handles its name. */
  park(claim: EmbeddedClaim): void {
    const record = this.#settling.toRecord(claim);
    this.add(record, record.name);
    void this.#core.commits.changed();
  }

  /** Makes due records ready, earliest first. @returns how many. */
  promote(now: number, limit: number): number {
    const { tables, commits } = this.#core;
    const rows = tables.range('later', { start: '', end: u48(now + 1), limit });
    for (const [key] of rows) {
      tables.delete('later', key);
      const record = this.#core.getRecord(key.slice(6));
      if (record === undefined || record.state !== 'scheduled' || laterKey(record) !== key) continue;
      this.uncountScheduled(record);
      this.add(record, '');
    }
    if (rows.length > 0) {
      commits.changed().catch(() => {});
      this.#core.wake();
    }
    return rows.length;
  }

  nextDueAt(): number | undefined {
    const [row] = this.#core.tables.range('later', { start: '', end: '\u0100', limit: 1 });
    return row === undefined ? undefined : readU48(row[0], 0);
  }

  uncountScheduled(record: TaskRecord): void {
    const queue = this.#core.queueNames.number(record.queue);
    this.#core.counters.add(queue, 'scheduled', -1);
    if (record.attempts.length > 0) this.#core.counters.add(queue, 'retrying', -1);
  }
}
