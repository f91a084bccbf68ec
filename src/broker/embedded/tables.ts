/**
 * What the embedded broker needs of a store: a few ordered tables and one atomic commit. Two drivers exist,
 * LMDB and memory; the queue logic above them is the same, which is why both pass the same conformance suite.
 *
 * Keys are latin1 strings whose characters are the key's bytes, so that string order is byte order and a key
 * can sit in a Map. Reads see everything that was put, committed or not. Values must not change after they
 * were put.
 *
 *     ready   [queue 2][lane 8][9 − level 1][segment 6]  a segment: up to 256 tasks, or references to records
 *     done    [segment 6][first index 2]                 packed results of consecutive tasks
 *     task    [segment 6][index 2]                       record of a task that left its segment
 *     note    [segment 6][index 2]                       progress and log lines of a running task
 *     later   [run at 6][segment 6][index 2]             scheduled records by due time
 *     final   [state 1][queue 2][settled 6][segment 6][index 2]  final records by state
 *     expiry  [expires at 6][serial 6]                   keys of rows to prune then
 *     unique  [name 2][key …]                            who holds a unique key, and until when
 *     place   [segment 6]                                lane of a segment that is not in lane 0
 *     lane    [lane 8]                                   the lane's name
 *     count   [queue 2]                                  counters of the queue
 *     name    [kind 1][index 2]                          names of tasks and queues
 *     blob    name of a file                             bytes in it that tasks refer to, and their end
 *     flow, node, edge, parent, work                     see `flows/rows.ts`
 *     fact    key                                        the KeyValue port
 *     meta    key                                        numbers of segments: next, passed over, staged
 */
export const TABLE_NAMES = [
  'ready',
  'done',
  'task',
  'note',
  'later',
  'final',
  'expiry',
  'unique',
  'place',
  'lane',
  'count',
  'name',
  'blob',
  'flow',
  'node',
  'edge',
  'parent',
  'work',
  'fact',
  'meta',
] as const;
export type TableName = (typeof TABLE_NAMES)[number];

export type Row = readonly [key: string, value: Uint8Array];

export interface Range {
  /** Inclusive. */
  readonly start: string;
  /** Exclusive. */
  readonly end: string;
  readonly limit: number;
  readonly reverse?: boolean;
}

export interface Tables {
  readonly kind: 'lmdb' | 'memory';
  get(table: TableName, key: string): Uint8Array | undefined;
  has(table: TableName, key: string): boolean;
  put(table: TableName, key: string, value: Uint8Array): void;
  delete(table: TableName, key: string): void;
  /** Rows in key order (or its reverse), at most `limit`. */
  range(table: TableName, range: Range): Row[];
  /**
   * Makes everything put since the last call durable, all or nothing. At most one call is under way.
   * @param before  What has to happen first, while further puts belong to the next commit already.
   * @throws (rejects) with the store's error, or that of `before`; the caller then fences the store and never
   *   calls again.
   */
  commit(before?: Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** The first key after all that begin with `prefix`. */
export function afterPrefix(prefix: string): string {
  for (let at = prefix.length - 1; at >= 0; at--) {
    const code = prefix.charCodeAt(at);
    if (code < 255) return prefix.slice(0, at) + String.fromCharCode(code + 1);
  }
  return '\u0100';
}
