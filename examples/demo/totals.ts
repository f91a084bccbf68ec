/** What the store knows of all files, of this run and of earlier ones, read page by page. */
import type { Runtime, TaskInfo } from 'millrace';
import type { Compressed } from './tasks.js';

const PAGE_TASKS = 1_000;

export class Totals {
  /** Completed; dead letters are not in these three. */
  files = 0;
  bytes = 0;
  compressedBytes = 0;
  /** Bytes by the id of the worker thread; in each process these begin with 1. */
  readonly threads = new Map<number, number>();
  /** Of the attempts that completed, ascending. */
  readonly runMs: number[] = [];
  /** How many files took 1, 2, and more attempts. */
  readonly attempts: [number, number, number] = [0, 0, 0];
  /** One line for each dead letter. */
  readonly dead: string[] = [];
  /** Of completed files and dead letters. */
  readonly paths = new Set<string>();
  /** Tasks that are not the first of their file: none, if all is well. */
  repeated = 0;

  addCompleted({ result, attempts }: TaskInfo): void {
    const { path, bytes, compressedBytes, thread } = result as Compressed;
    this.#addPath(path);
    this.files++;
    this.bytes += bytes;
    this.compressedBytes += compressedBytes;
    this.threads.set(thread, (this.threads.get(thread) ?? 0) + bytes);
    this.runMs.push(attempts.at(-1)!.runMs);
    this.attempts[Math.min(attempts.length, 3) - 1]!++;
  }

  addDead({ payload, reason, attempts }: TaskInfo): void {
    const { path } = payload as { path: string };
    this.#addPath(path);
    this.dead.push(`${path}: ${attempts.at(-1)?.error?.message ?? reason}`);
  }

  #addPath(path: string): void {
    if (this.paths.has(path)) this.repeated++;
    this.paths.add(path);
  }
}

export async function readTotals(runtime: Runtime): Promise<Totals> {
  const totals = new Totals();
  for await (const task of tasksIn(runtime, 'completed')) totals.addCompleted(task);
  for await (const task of tasksIn(runtime, 'dead')) totals.addDead(task);
  totals.runMs.sort((one, other) => one - other);
  return totals;
}

async function* tasksIn(runtime: Runtime, state: 'completed' | 'dead'): AsyncGenerator<TaskInfo> {
  for (let page = await runtime.list({ state }, { limit: PAGE_TASKS }); ; ) {
    yield* page.tasks;
    if (page.after === undefined) return;
    page = await runtime.list({ state }, { limit: PAGE_TASKS, after: page.after });
  }
}
