/** The systems under test behind one shape, opened and closed the same way. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRuntime } from 'millrace';
import { Piscina } from 'piscina';
import type * as tasks from './tasks.js';

export type BenchTask = 'noop' | 'work' | 'touch';

export interface Subject {
  readonly name: string;
  /** Runs one task and resolves with its result. */
  run(name: BenchTask, payload: unknown): Promise<unknown>;
  close(): Promise<void>;
}

export const THREADS = Number(process.env.MILLRACE_BENCH_THREADS ?? 2);

const TASKS = new URL('./tasks.js', import.meta.url);

/** @param backend  `memory` or `lmdb`; LMDB acknowledges and answers after the flush. */
export async function openMillrace(backend: 'memory' | 'lmdb'): Promise<Subject> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const runtime = await openRuntime<typeof tasks>({
    backend: backend === 'memory' ? 'memory:' : folder,
    tasks: TASKS,
    threads: THREADS,
  });
  return {
    name: `millrace, ${backend}`,
    run: (name, payload) => runtime.run(name, payload as never),
    async close() {
      await runtime.stop({ graceMs: 1_000 });
      rmSync(folder, { recursive: true });
    },
  };
}

export function openPiscina(): Subject {
  const filename = new URL('./piscina-worker.js', import.meta.url).href;
  const pool = new Piscina({ filename, minThreads: THREADS, maxThreads: THREADS });
  return {
    name: 'piscina',
    run: (name, payload) => pool.run(payload, { name: name === 'noop' ? 'default' : name }),
    close: () => pool.destroy(),
  };
}
