/** Which of the tasks that a dead owner had handed out are still to be done. */
import { DoneRows } from './done-rows.js';
import { readU16, readU48 } from './keys.js';
import { isInGap } from './numbering.js';
import { isFinalRecord, openRecord } from './record.js';
import type { Tables } from './tables.js';

/** More are not remembered: each is run alone, so nobody waits for that many. */
const MAX_SUSPECTS = 20_000;

/**
 * Drops the keys of tasks that ended before the owner died, or that were never accepted. To be called after
 * `passOverUnaccepted`. What cannot be read stays suspect.
 */
export function stillSuspect(tables: Tables, keys: Iterable<string>): Set<string> {
  const suspects = new Set<string>();
  const doneRows = new DoneRows(tables, '');
  for (const key of keys) {
    if (suspects.size < MAX_SUSPECTS && mayBeOpen(tables, doneRows, key)) suspects.add(key);
  }
  return suspects;
}

function mayBeOpen(tables: Tables, doneRows: DoneRows, key: string): boolean {
  try {
    const row = tables.get('task', key);
    if (row !== undefined) return !isFinalRecord(openRecord(row, ''));
    const segment = readU48(key, 0);
    return doneRows.find(segment, readU16(key, 6)) === undefined && !isInGap(tables, segment);
  } catch {
    return true;
  }
}
