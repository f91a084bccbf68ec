/** Stores that tell when a commit takes what was put and when it is durable, and whose owner can die. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryTables } from '#src/broker/embedded/memory-tables.js';
import { passOverUnaccepted } from '#src/broker/embedded/numbering.js';
import { TABLE_NAMES, type TableName, type Tables } from '#src/broker/embedded/tables.js';
import { type LmdbTables, lmdbTables } from '#src/broker/lmdb/lmdb-tables.js';

export interface Watch {
  /** All that has been put by now is in the commit that begins. */
  begun(): void;
  committed(): void;
}

export interface Disk {
  readonly name: string;
  /** Of its own, for files of large payloads and results. */
  readonly folder: string;
  /** Opens what is committed. */
  open(watch: Watch): Promise<Tables>;
  /** Lets the commit in flight end, where that waits for a word. */
  release(): void;
  /** Nothing that the owner does from now on reaches the store. */
  kill(): Promise<void>;
  destroy(): Promise<void>;
}

type Change = readonly [TableName, string, Uint8Array | undefined];

/** A folder in memory, where there is one: thousands of flushes cost nothing there. */
const SHARED_MEMORY = '/dev/shm';

/** In memory; a commit ends when the test says so, and what was not committed is lost with its owner. */
export class MemoryDisk implements Disk {
  readonly name = 'memory';
  readonly folder = mkdtempSync(
    join(existsSync(SHARED_MEMORY) ? SHARED_MEMORY : tmpdir(), 'millrace-model-'),
  );
  readonly #committed = memoryTables();
  #owner = 0;
  #finish: (() => void) | undefined;

  async open(watch: Watch): Promise<Tables> {
    const owner = ++this.#owner;
    const current = memoryTables();
    for (const table of TABLE_NAMES) {
      for (const [key, value] of rowsOf(this.#committed, table)) current.put(table, key, value);
    }
    let journal: Change[] = [];
    const tables: Tables = {
      ...current,
      put: (table, key, value) => {
        current.put(table, key, value);
        journal.push([table, key, value]);
      },
      delete: (table, key) => {
        current.delete(table, key);
        journal.push([table, key, undefined]);
      },
      commit: async (before) => {
        // Whatever becomes of it when this owner is dead.
        before?.catch(() => {});
        if (owner !== this.#owner) throw new Error('this owner is dead');
        const changes = journal;
        journal = [];
        watch.begun();
        if (before !== undefined) await before;
        if (owner !== this.#owner) throw new Error('this owner is dead');
        await this.#commit(watch, changes);
      },
    };
    const numbered = passOverUnaccepted(tables);
    this.release();
    await numbered;
    return tables;
  }

  #commit(watch: Watch, changes: readonly Change[]): Promise<void> {
    return new Promise((resolve) => {
      this.#finish = () => {
        this.#finish = undefined;
        for (const [table, key, value] of changes) {
          if (value === undefined) this.#committed.delete(table, key);
          else this.#committed.put(table, key, Uint8Array.from(value));
        }
        watch.committed();
        resolve();
      };
    });
  }

  release(): void {
    this.#finish?.();
  }

  async kill(): Promise<void> {
    this.#owner++;
    this.#finish = undefined;
  }

  async destroy(): Promise<void> {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function rowsOf(tables: Tables, table: TableName) {
  return tables.range(table, { start: '', end: '\u0100', limit: 1_000_000 });
}

/** LMDB in a folder of its own. */
export class LmdbDisk implements Disk {
  readonly name = 'lmdb';
  readonly folder = mkdtempSync(join(tmpdir(), 'millrace-model-'));
  #tables: LmdbTables | undefined;
  #inFlight: Promise<void> = Promise.resolve();
  #epoch = 0;

  async open({ begun, committed }: Watch): Promise<Tables> {
    const tables = await lmdbTables(join(this.folder, 'data.mdb'), ++this.#epoch);
    await passOverUnaccepted(tables);
    this.#tables = tables;
    const commit = (before?: Promise<void>): Promise<void> => {
      before?.catch(() => {});
      if (this.#tables !== tables) return Promise.reject(new Error('this owner is dead'));
      begun();
      this.#inFlight = tables.commit(before).then(committed);
      return this.#inFlight;
    };
    // What a dead owner had under way must not touch a store that is closed.
    const living = (): LmdbTables => {
      if (this.#tables !== tables) throw new Error('this owner is dead');
      return tables;
    };
    return {
      kind: 'lmdb',
      get: (table, key) => living().get(table, key),
      has: (table, key) => living().has(table, key),
      put: (table, key, value) => living().put(table, key, value),
      delete: (table, key) => living().delete(table, key),
      range: (table, range) => living().range(table, range),
      commit,
      close: () => this.kill(),
    };
  }

  release(): void {}

  async kill(): Promise<void> {
    const tables = this.#tables;
    this.#tables = undefined;
    await this.#inFlight;
    await tables?.close();
  }

  async destroy(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
