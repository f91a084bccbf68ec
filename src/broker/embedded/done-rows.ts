/** Finding the result of one task among the rows that hold a batch's results each. */
import { readU16, taskKey } from './keys.js';
import { ROW, readHeader, type UnpackedResult, unpackResults } from './rows.js';
import type { Tables } from './tables.js';

export interface FoundResult {
  readonly result: UnpackedResult;
  readonly rowKey: string;
}

interface OpenRow {
  readonly key: string;
  readonly segment: number;
  readonly first: number;
  readonly results: readonly UnpackedResult[];
}

export class DoneRows {
  readonly #tables: Tables;
  readonly #where: string;
  /** The row that was read last: who asks for one result often asks for its neighbours next. */
  #last: OpenRow | undefined;

  constructor(tables: Tables, where: string) {
    this.#tables = tables;
    this.#where = where;
  }

  /** @throws {StoreCorruptError} */
  find(segment: number, index: number): FoundResult | undefined {
    const row = holds(this.#last, segment, index) ? this.#last : this.#read(segment, index);
    if (!holds(row, segment, index)) return undefined;
    this.#last = row;
    return { result: row.results[index - row.first]!, rowKey: row.key };
  }

  /** A row was changed or deleted. New rows hold other tasks and need no word. */
  changed(): void {
    this.#last = undefined;
  }

  /**
   * Rows of a segment never overlap: if one holds the task, it is the last one that does not begin after it.
   */
  #read(segment: number, index: number): OpenRow | undefined {
    const end = `${taskKey(segment, index)}\0`;
    const range = { start: taskKey(segment, 0), end, limit: 1, reverse: true };
    const [row] = this.#tables.range('done', range);
    if (row === undefined) return undefined;
    const results = unpackResults(readHeader(row[1], this.#where, ROW.results));
    return { key: row[0], segment, first: readU16(row[0], 6), results };
  }
}

function holds(row: OpenRow | undefined, segment: number, index: number): row is OpenRow {
  return row?.segment === segment && index >= row.first && index < row.first + row.results.length;
}
