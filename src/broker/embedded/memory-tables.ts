/** Ordered tables in memory, with no durability at all: what is put is committed at once. */
import { SortedTable } from './sorted-table.js';
import { type Range, type Row, TABLE_NAMES, type TableName, type Tables } from './tables.js';

export function memoryTables(): Tables {
  const tables = new Map(TABLE_NAMES.map((name) => [name, new SortedTable<Uint8Array>()]));
  const table = (name: TableName): SortedTable<Uint8Array> => tables.get(name)!;
  return {
    kind: 'memory',
    get: (name, key) => table(name).values.get(key),
    has: (name, key) => table(name).values.has(key),
    put: (name, key, value) => table(name).put(key, value),
    delete: (name, key) => table(name).delete(key),
    range: (name, range) => rowsOf(table(name), range),
    commit: (before) => before ?? Promise.resolve(),
    close: () => Promise.resolve(),
  };
}

function rowsOf(table: SortedTable<Uint8Array>, { start, end, limit, reverse }: Range): Row[] {
  const rows: Row[] = [];
  const keys = table.keys(start, end, reverse);
  while (rows.length < limit) {
    const key = keys.next();
    if (key === undefined) break;
    rows.push([key, table.values.get(key)!]);
  }
  return rows;
}
