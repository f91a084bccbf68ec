/**
 * What may be pruned when. One row per commit and instant lists the keys that expire then, so that pruning
 * reads the earliest rows and deletes what they name: it never scans what is kept.
 */
import { readU16, readU48, u16, u48 } from './keys.js';
import type { Tables } from './tables.js';

/** Instants are rounded up to this, so that one commit's tasks share rows. */
const GRAIN_MS = 1_000;
/** The index is stored: append only. */
const KINDS = ['done', 'task', 'unique', 'fact', 'flow'] as const;
const ENTRY_HEADER = 3;

export interface ExpiryEntry {
  readonly table: (typeof KINDS)[number];
  readonly key: string;
}

export class Expiries {
  readonly #byInstant = new Map<number, string[]>();

  /** Endless retention is not noted at all. */
  add(expiresAt: number, table: ExpiryEntry['table'], key: string): void {
    if (!Number.isFinite(expiresAt)) return;
    const instant = Math.ceil(expiresAt / GRAIN_MS) * GRAIN_MS;
    const keys = this.#byInstant.get(instant);
    const entry = String.fromCharCode(KINDS.indexOf(table)) + u16(key.length) + key;
    if (keys === undefined) this.#byInstant.set(instant, [entry]);
    else keys.push(entry);
  }

  put(tables: Tables): void {
    for (const [instant, keys] of this.#byInstant) {
      const prefix = u48(instant);
      const [last] = tables.range('expiry', {
        start: prefix,
        end: u48(instant + 1),
        limit: 1,
        reverse: true,
      });
      const serial = last === undefined ? 0 : readU48(last[0], 6) + 1;
      tables.put('expiry', prefix + u48(serial), Buffer.from(keys.join(''), 'latin1'));
    }
    this.#byInstant.clear();
  }
}

export function readExpiryRow(value: Uint8Array): ExpiryEntry[] {
  const text = Buffer.from(value).toString('latin1');
  const entries: ExpiryEntry[] = [];
  for (let at = 0; at + ENTRY_HEADER <= text.length; ) {
    const chars = readU16(text, at + 1);
    const table = KINDS[text.charCodeAt(at)] ?? 'task';
    entries.push({ table, key: text.slice(at + ENTRY_HEADER, at + ENTRY_HEADER + chars) });
    at += ENTRY_HEADER + chars;
  }
  return entries;
}
