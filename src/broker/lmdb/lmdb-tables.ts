/**
 * Ordered tables on LMDB. Writes gather in an overlay per table until `commit`, which hands them over as one
 * transaction: a row put and deleted before its commit is never written, a row put twice is written once, and
 * reads see all of it. Every commit is conditional on the owner's epoch in the store.
 *
 * lmdb-js is opened with `overlappingSync: false`, so that its promise means flushed and a failed sync shows
 * nothing. It never clears a database, never holds an iterator across a turn, and keeps nothing in the root
 * database.
 */
import { type Database, open, type RootDatabase } from 'lmdb';
import { StoreFencedError } from '../../errors.js';
import { SortedTable } from '../embedded/sorted-table.js';
import { type Range, type Row, TABLE_NAMES, type TableName, type Tables } from '../embedded/tables.js';

const EPOCH_KEY = Buffer.from('epoch');
/** What a row will be; `undefined` is deleted. */
type Changes = SortedTable<Uint8Array | undefined>;
type Bytes = Database<Buffer, Buffer>;

const BYTES = { encoding: 'binary', keyEncoding: 'binary' } as const;

export interface LmdbTables extends Tables {
  /** Bytes of the pages that hold something; the file itself never shrinks. */
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
    // With it, each turn makes a promise that nobody sees; rejected by a failing commit, it ends the host.
    eventTurnBatching: false,
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

/** What `getStats` says of one database; its own type is empty. */
interface PageStats {
  readonly pageSize: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

class OverlaidTables implements LmdbTables {
  readonly kind = 'lmdb';
  readonly #root: RootDatabase;
  readonly #owner: Bytes;
  readonly #epoch: number;
  readonly #stored = new Map<TableName, Bytes>();
  #open = emptyOverlay();
  #inFlight: ReadonlyMap<TableName, Changes> | undefined;

  constructor(root: RootDatabase, owner: Bytes, epoch: number) {
    this.#root = root;
    this.#owner = owner;
    this.#epoch = epoch;
    for (const name of TABLE_NAMES) this.#stored.set(name, root.openDB<Buffer, Buffer>({ name, ...BYTES }));
  }

  get(table: TableName, key: string): Uint8Array | undefined {
    const change = this.#changeOf(table, key);
    if (change !== undefined) return change.values.get(key);
    return this.#stored.get(table)!.get(Buffer.from(key, 'latin1'));
  }

  has(table: TableName, key: string): boolean {
    const change = this.#changeOf(table, key);
    if (change !== undefined) return change.values.get(key) !== undefined;
    return this.#stored.get(table)!.doesExist(Buffer.from(key, 'latin1'));
  }

  /** Where the newest word on this key is, if the store has not the last one. */
  #changeOf(table: TableName, key: string): Changes | undefined {
    const open = this.#open.get(table)!;
    if (open.size > 0 && open.values.has(key)) return open;
    const inFlight = this.#inFlight?.get(table);
    return inFlight !== undefined && inFlight.size > 0 && inFlight.values.has(key) ? inFlight : undefined;
  }

  put(table: TableName, key: string, value: Uint8Array): void {
    this.#open.get(table)!.put(key, value);
  }

  delete(table: TableName, key: string): void {
    const open = this.#open.get(table)!;
    if (open.values.get(key) !== undefined && !this.#mayBeStored(table, key)) open.delete(key);
    else open.put(key, undefined);
  }

  range(table: TableName, range: Range): Row[] {
    if (range.start >= range.end) return [];
    const open = this.#open.get(table)!;
    const inFlight = this.#inFlight?.get(table);
    if (open.size === 0 && (inFlight === undefined || inFlight.size === 0)) {
      const stored = this.#stored.get(table)!.getRange({ ...boundsOf(range), limit: range.limit });
      return Array.from(stored, ({ key, value }): Row => [key.toString('latin1'), value]);
    }
    return this.#merge(table, range, inFlight === undefined ? [open] : [open, inFlight]);
  }

  /**
   * Walks the store and what is not in it yet side by side; where they speak of one key the newest is right.
   */
  #merge(table: TableName, range: Range, newest: readonly Changes[]): Row[] {
    const { start, end, limit, reverse = false } = range;
    const cursors = newest.map((changes) => changes.keys(start, end, reverse));
    const heads = cursors.map((cursor) => cursor.next());
    const stored = this.#stored.get(table)!.getRange(boundsOf(range))[Symbol.iterator]();
    let row = nextOf(stored);
    const rows: Row[] = [];
    while (rows.length < limit) {
      let first = row?.[0];
      for (const head of heads) {
        if (head !== undefined && (first === undefined || (reverse ? head > first : head < first)))
          first = head;
      }
      if (first === undefined) break;
      const from = heads.indexOf(first);
      const value = from < 0 ? row![1] : newest[from]!.values.get(first);
      if (value !== undefined) rows.push([first, value]);
      heads.forEach((head, at) => {
        if (head === first) heads[at] = cursors[at]!.next();
      });
      if (row?.[0] === first) row = nextOf(stored);
    }
    stored.return?.();
    return rows;
  }

  async commit(before?: Promise<void>): Promise<void> {
    const changes = this.#open;
    this.#open = emptyOverlay();
    this.#inFlight = changes;
    if (before !== undefined) await before;
    const isOwner = await this.#write(changes);
    if (!isOwner) throw new StoreFencedError('another owner has taken over this folder');
    this.#inFlight = undefined;
    this.#root.resetReadTxn();
  }

  /** One transaction, nothing of it when the store has another epoch. @returns whether it was written. */
  async #write(changes: ReadonlyMap<TableName, Changes>): Promise<boolean> {
    const results = new Set<Promise<boolean>>();
    const written = this.#owner.ifVersion(EPOCH_KEY, this.#epoch, () => {
      for (const [table, { values }] of changes) {
        const stored = this.#stored.get(table)!;
        for (const [key, value] of values) {
          const name = Buffer.from(key, 'latin1');
          results.add(value === undefined ? stored.remove(name) : stored.put(name, value as Buffer));
        }
      }
    });
    // A failed commit rejects all of these; only the first one is awaited.
    for (const result of results) result.catch(() => {});
    try {
      return await written;
    } catch (error) {
      throw await causeOf(error);
    }
  }

  usedBytes(): number {
    let bytes = 0;
    for (const table of this.#stored.values()) {
      const { pageSize, treeBranchPageCount, treeLeafPageCount, overflowPages } =
        table.getStats() as PageStats;
      bytes += (treeBranchPageCount + treeLeafPageCount + overflowPages) * pageSize;
    }
    return bytes;
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  /** Whether a row of this key may be in the store or on its way there. */
  #mayBeStored(table: TableName, key: string): boolean {
    if (this.#inFlight?.get(table)?.values.get(key) !== undefined) return true;
    return this.#stored.get(table)!.doesExist(Buffer.from(key, 'latin1'));
  }
}

function boundsOf({ start, end, reverse = false }: Range) {
  const from = Buffer.from(start, 'latin1');
  const to = end === '\u0100' ? {} : { [reverse ? 'start' : 'end']: Buffer.from(end, 'latin1') };
  return reverse
    ? { ...to, end: from, reverse, exclusiveStart: true, inclusiveEnd: true }
    : { ...to, start: from };
}

function nextOf(rows: Iterator<{ key: Buffer; value: Buffer }>): Row | undefined {
  const { done, value } = rows.next();
  return done ? undefined : [value.key.toString('latin1'), value.value];
}

function emptyOverlay(): ReadonlyMap<TableName, Changes> {
  return new Map(TABLE_NAMES.map((name) => [name, new SortedTable()]));
}

/** lmdb-js hides what the system said behind a promise, which is settled about when the commit is. */
async function causeOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<unknown> };
  if (commitError === undefined) return error;
  const soon = new Promise<undefined>((resolve) => setImmediate(() => setImmediate(resolve, undefined)));
  const cause = await Promise.race([
    commitError.then(
      () => undefined,
      (reason: unknown) => reason,
    ),
    soon,
  ]);
  return cause ?? error;
}
