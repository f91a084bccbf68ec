/**
 * Ordered tables on LMDB. Writes gather in an overlay per table until `commit`, which hands them over as one
 * transaction: a row put and deleted before its commit is never written, a row put twice is written once, and reads
 * see all of it. Every commit is conditional on the owner's epoch in the store.
 *
 * lmdb-js is opened with `overlappingSync: false`, so that its promise means flushed and a failed sync shows nothing.
 * It never clears a database, never holds an iterator across a turn, and keeps nothing in the root database.
 */
import { type Database, open, type RootDatabase } from 'lmdb';
import { StoreFencedError } from '../../errors.js';
import { type Range, type Row, TABLE_NAMES, type TableName, type Tables } from '../embedded/tables.js';

const EPOCH_KEY = Buffer.from('epoch');
type Changes = Map<string, Uint8Array | undefined>;
type Bytes = Database<Buffer, Buffer>;

const BYTES = { encoding: 'binary', keyEncoding: 'binary' } as const;

export interface LmdbTables extends Tables {
  /** Bytes of the data file in use. */
  usedBytes(): number;
}

/**
 * @param path   The data file.
 * @param epoch  This owner's; written first, and demanded by every commit.
 */
export async function lmdbTables(path: string, epoch: number): Promise<LmdbTables> {
  const root: RootDatabase = open({
    path,
    noSubdir: true,
    overlappingSync: false,
    maxDbs: TABLE_NAMES.length + 4,
    maxReaders: 64,
    ...BYTES,
  });
  try {
    const owner = root.openDB<Buffer, Buffer>({ name: 'owner', useVersions: true, ...BYTES });
    await owner.put(EPOCH_KEY, Buffer.from(String(epoch)), epoch);
    return new OverlaidTables(root, owner, epoch);
  } catch (error) {
    await root.close();
    throw error;
  }
}

class OverlaidTables implements LmdbTables {
  readonly kind = 'lmdb';
  readonly #root: RootDatabase;
  readonly #owner: Bytes;
  readonly #epoch: number;
  readonly #stored = new Map<TableName, Bytes>();
  #open = emptyOverlay();
  #inFlight: Map<TableName, Changes> | undefined;

  constructor(root: RootDatabase, owner: Bytes, epoch: number) {
    this.#root = root;
    this.#owner = owner;
    this.#epoch = epoch;
    for (const name of TABLE_NAMES) this.#stored.set(name, root.openDB<Buffer, Buffer>({ name, ...BYTES }));
  }

  get(table: TableName, key: string): Uint8Array | undefined {
    const open = this.#open.get(table)!;
    if (open.size > 0) {
      const value = open.get(key);
      if (value !== undefined || open.has(key)) return value;
    }
    const inFlight = this.#inFlight?.get(table);
    if (inFlight !== undefined && inFlight.size > 0) {
      const value = inFlight.get(key);
      if (value !== undefined || inFlight.has(key)) return value;
    }
    return this.#stored.get(table)!.get(Buffer.from(key, 'latin1'));
  }

  put(table: TableName, key: string, value: Uint8Array): void {
    this.#open.get(table)!.set(key, value);
  }

  delete(table: TableName, key: string): void {
    const open = this.#open.get(table)!;
    if (open.get(key) !== undefined && !this.#mayBeStored(table, key)) open.delete(key);
    else open.set(key, undefined);
  }

  range(table: TableName, range: Range): Row[] {
    const changes = this.#changesIn(table, range);
    const rows: Row[] = [];
    const { start, end, limit, reverse = false } = range;
    const from = Buffer.from(start, 'latin1');
    const to = end === '\u0100' ? undefined : Buffer.from(end, 'latin1');
    const bounds = reverse
      ? { ...(to === undefined ? {} : { start: to }), end: from, reverse, exclusiveStart: true, inclusiveEnd: true }
      : { start: from, ...(to === undefined ? {} : { end: to }) };
    // Rows hidden by a change still count in the store: ask for that many more.
    for (const { key, value } of this.#stored.get(table)!.getRange({ ...bounds, limit: limit + changes.size })) {
      const name = key.toString('latin1');
      if (!changes.has(name)) rows.push([name, value]);
    }
    if (changes.size === 0) return rows;
    for (const [key, value] of changes) if (value !== undefined) rows.push([key, value]);
    rows.sort(reverse ? (a, b) => (a[0] < b[0] ? 1 : -1) : (a, b) => (a[0] < b[0] ? -1 : 1));
    return rows.length > limit ? rows.slice(0, limit) : rows;
  }

  async commit(): Promise<void> {
    const changes = this.#open;
    this.#open = emptyOverlay();
    this.#inFlight = changes;
    const isOwner = await this.#owner.ifVersion(EPOCH_KEY, this.#epoch, () => {
      for (const [table, rows] of changes) {
        const stored = this.#stored.get(table)!;
        for (const [key, value] of rows) {
          if (value === undefined) stored.remove(Buffer.from(key, 'latin1'));
          else stored.put(Buffer.from(key, 'latin1'), value as Buffer);
        }
      }
    });
    if (!isOwner) throw new StoreFencedError('another owner has taken over this folder');
    this.#inFlight = undefined;
    this.#root.resetReadTxn();
  }

  usedBytes(): number {
    const { root, pageSize } = this.#root.getStats() as { root?: { lastPageNumber?: number }; pageSize?: number };
    return (root?.lastPageNumber ?? 0) * (pageSize ?? 4096);
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  /** Whether a row of this key may be in the store or on its way there. */
  #mayBeStored(table: TableName, key: string): boolean {
    if (this.#inFlight?.get(table)?.get(key) !== undefined) return true;
    return this.#stored.get(table)!.doesExist(Buffer.from(key, 'latin1'));
  }

  /** What the overlays say of the keys in a range; the newer one wins. */
  #changesIn(table: TableName, { start, end }: Range): Changes {
    const changes: Changes = new Map();
    for (const overlay of [this.#inFlight?.get(table), this.#open.get(table)]) {
      if (overlay === undefined || overlay.size === 0) continue;
      for (const [key, value] of overlay) if (key >= start && key < end) changes.set(key, value);
    }
    return changes;
  }
}

function emptyOverlay(): Map<TableName, Changes> {
  return new Map(TABLE_NAMES.map((name) => [name, new Map()]));
}
