/** Finding the result of one task among the rows that hold a batch's results each. */
import { readU16, taskKey } from './keys.js';
import { ROW, readHeader, type UnpackedResult, unpackResult } from './rows.js';
import type { Tables } from './tables.js';

export interface FoundResult {
  readonly result: UnpackedResult;
  readonly rowKey: string;
}

/**
 * Rows of a segment never overlap: if one holds the task, it is the last one that does not begin after it.
 */
export function findResult(
  tables: Tables,
  where: string,
  segment: number,
  index: number,
): FoundResult | undefined {
  const end = `${taskKey(segment, index)}\0`;
  const [row] = tables.range('done', { start: taskKey(segment, 0), end, limit: 1, reverse: true });
  if (row === undefined) return undefined;
  const result = unpackResult(readHeader(row[1], where, ROW.results), index - readU16(row[0], 6));
  return result === undefined ? undefined : { result, rowKey: row[0] };
}
