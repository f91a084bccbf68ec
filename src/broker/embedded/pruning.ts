/** Deletes what has been kept long enough, earliest first, a bounded number of rows at a time. */
import type { FinalState } from '../../task/task.js';
import { type Core, finalKey } from './core.js';
import { type ExpiryEntry, readExpiryRow } from './expiry.js';
import { expiresAtOf } from './key-value.js';
import { readU16, u48 } from './keys.js';
import { isFinalRecord } from './record.js';
import { homeOf, ROW, readHeader, unpackResults } from './rows.js';
import { takenUntil } from './uniques.js';

/** A row that must wait for its segment is looked at again after this. */
const AGAIN_MS = 60_000;

export class Pruning {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  /** @returns how many rows were looked at: `limit` or more means that there may be more. */
  prune(now: number, limit: number): number {
    const { tables, commits } = this.#core;
    let looked = 0;
    while (looked < limit) {
      const [row] = tables.range('expiry', { start: '', end: u48(now + 1), limit: 1 });
      if (row === undefined) break;
      tables.delete('expiry', row[0]);
      for (const entry of readExpiryRow(row[1])) {
        looked++;
        this.#core.tryRead(() => this.#pruneRow(entry, now));
      }
    }
    if (looked > 0) commits.changed();
    return looked;
  }

  #pruneRow({ table, key }: ExpiryEntry, now: number): void {
    if (table === 'flow') this.#core.flows.prune(key, now);
    else if (table === 'done') this.#pruneDone(key, now);
    else if (table === 'task') this.#pruneRecord(key, now);
    else this.#pruneIfPast(table, key, now);
  }

  #pruneDone(key: string, now: number): void {
    const { tables, counters, commits, where } = this.#core;
    const row = tables.get('done', key);
    if (row === undefined) return;
    const header = readHeader(row, where, ROW.results);
    const home = homeOf(header);
    if (this.#isStored(home, key)) {
      commits.turn.expiries.add(now + AGAIN_MS, 'done', key);
      return;
    }
    tables.delete('done', key);
    this.#core.doneRows.changed();
    const kept = unpackResults(header).filter((result) => !result.isDeleted);
    for (const { result } of kept) this.#core.blobs?.lose(result);
    counters.add(readU16(home, 0), 'completed', -kept.length);
  }

  #pruneRecord(key: string, now: number): void {
    const { tables, counters, commits, queueNames } = this.#core;
    const record = this.#core.getRecord(key);
    if (record === undefined || !isFinalRecord(record) || record.expiresAt > now) return;
    if (record.home !== '' && this.#isStored(record.home, key)) {
      commits.turn.expiries.add(now + AGAIN_MS, 'task', key);
      return;
    }
    tables.delete('task', key);
    if (record.isDeleted) return;
    this.#core.blobs?.lose(record.body);
    this.#core.blobs?.lose(record.result);
    const queue = queueNames.number(record.queue);
    tables.delete('final', finalKey(record.state as FinalState, queue, record.settledAt, key));
    counters.add(queue, record.state as FinalState, -1);
  }

  /** A unique key or a fact, unless it was put again with a later end meanwhile. */
  #pruneIfPast(table: 'unique' | 'fact', key: string, now: number): void {
    const row = this.#core.tables.get(table, key);
    if (row === undefined) return;
    const until = table === 'unique' ? takenUntil(row) : expiresAtOf(row);
    if (until > 0 && until <= now) this.#core.tables.delete(table, key);
  }

  /**
   * Whether the segment that a task came from is still stored: then only this row says that the task is not
   * there.
   */
  #isStored(home: string, key: string): boolean {
    return this.#core.tables.has('ready', home + key.slice(0, 6));
  }
}
