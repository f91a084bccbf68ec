/** What the store knows of all files, of this run and earlier ones, read page by page. */
import type { Runtime, TaskInfo } from 'millrace';
import type { Compressed } from './tasks.js';
import type { FoundFile } from './walk.js';

export interface Amount {
  readonly files: number;
  readonly bytes: number;
}

export interface Totals extends Amount {
  readonly compressedBytes: number;
  /** By the worker thread's id, which counts from 1 in each process. */
  readonly threads: ReadonlyMap<number, Amount>;
  /** Of the attempts that completed, ascending. */
  readonly runMs: readonly number[];
  /** How many files took 1, 2, and more attempts. */
  readonly attempts: readonly [number, number, number];
  readonly dead: number;
  /** The first few dead letters. */
  readonly reasons: readonly string[];
  /** Of every file that is settled, completed or dead. */
  readonly paths: ReadonlySet<string>;
  /** Tasks beyond the first for the same file: none, if all is well. */
  readonly repeated: number;
}

type Mutable<Values> = { -readonly [Key in keyof Values]: Values[Key] };

const PAGE_TASKS = 1_000;
const REASONS = 10;

// biome-ignore lint/suspicious/noExplicitAny: it reads what any module's tasks have left
export async function readTotals(runtime: Runtime<any>): Promise<Totals> {
  const totals = {
    ...{ files: 0, bytes: 0, compressedBytes: 0, dead: 0, repeated: 0 },
    threads: new Map<number, Mutable<Amount>>(),
    runMs: [] as number[],
    attempts: [0, 0, 0] as [number, number, number],
    reasons: [] as string[],
    paths: new Set<string>(),
  };
  const see = (path: string): void => {
    if (totals.paths.has(path)) totals.repeated++;
    totals.paths.add(path);
  };
  for await (const { result, attempts } of tasksIn(runtime, 'completed')) {
    const { path, bytes, compressedBytes, thread } = result as Compressed;
    see(path);
    totals.files++;
    totals.bytes += bytes;
    totals.compressedBytes += compressedBytes;
    totals.runMs.push(attempts.at(-1)!.runMs);
    totals.attempts[Math.min(attempts.length, 3) - 1]!++;
    const share = totals.threads.get(thread) ?? { files: 0, bytes: 0 };
    totals.threads.set(thread, { files: share.files + 1, bytes: share.bytes + bytes });
  }
  for await (const { payload, reason, attempts } of tasksIn(runtime, 'dead')) {
    const { path } = payload as { path: string };
    see(path);
    totals.dead++;
    if (totals.dead <= REASONS) totals.reasons.push(`${path}: ${attempts.at(-1)?.error?.message ?? reason}`);
  }
  totals.runMs.sort((one, other) => one - other);
  return totals;
}

/** How many of these files have no task that is settled. */
export async function unsettledFiles({ paths }: Totals, files: AsyncIterable<FoundFile>): Promise<number> {
  let missing = 0;
  for await (const { path } of files) if (!paths.has(path)) missing++;
  return missing;
}

async function* tasksIn(runtime: Runtime, state: 'completed' | 'dead'): AsyncGenerator<TaskInfo> {
  let after: string | undefined;
  do {
    const page = await runtime.list(
      { state },
      { limit: PAGE_TASKS, ...(after === undefined ? {} : { after }) },
    );
    yield* page.tasks;
    after = page.after;
  } while (after !== undefined);
}
