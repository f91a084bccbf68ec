/**
 * The main job: every file below a folder becomes a durable task that hashes and compresses it, on all cores.
 *
 *     npm run demo [-- FOLDER] [--all] [--threads N] [--data DIR]
 *
 * End it at any moment, by Ctrl-C, `kill -9` or the power switch, and give the same command again: it
 * finishes the rest and repeats nothing that was completed. What the worker threads run is in
 * `demo/tasks.ts`.
 */
import { createHash } from 'node:crypto';
import { type Handle, openRuntime, type Runtime, StoppedError, TaskDeadError } from 'millrace';
import { beginJob, finishJob, type Job, Refusal, readJob } from './demo/job.js';
import { Progress } from './demo/progress.js';
import { printTable } from './demo/table.js';
import { readTotals, type Totals } from './demo/totals.js';
import { inBatches, measure, walk } from './demo/walk.js';

type DemoRuntime = Runtime<typeof import('./demo/tasks.js')>;

/** Files that are enqueued together, in one commit. */
const BATCH_FILES = 500;
/** Batches that are on their way at once: this bounds the memory, whatever the size of the folder. */
const OPEN_BATCHES = 40;
/** How long an interrupted run can wait to be finished. */
const KEY_MS = 365 * 86_400_000;
/** How long running files may go on after Ctrl-C; those that are aborted begin again in the next run. */
const GRACE_MS = 3_000;
/** With some shells npm repeats the Ctrl-C that the terminal has sent; a user's second one comes later. */
const SAME_KEY_MS = 300;

/** @returns the exit code. */
async function main(): Promise<number> {
  const job = readJob(process.argv.slice(2));
  beginJob(job);
  await using runtime: DemoRuntime = await openRuntime({
    backend: job.store,
    tasks: new URL('./demo/tasks.js', import.meta.url),
    ...(job.threads === undefined ? {} : { threads: job.threads }),
  });
  const ctrlC = stopOnCtrlC(runtime);
  try {
    const before = await readTotals(runtime);
    const elapsedMs = await runAll(runtime, job, before);
    if (!ctrlC.aborted) return await report(runtime, job, before, elapsedMs);
  } catch (error) {
    if (!ctrlC.aborted) throw error;
  }
  await runtime.stop();
  console.error(`Stopped. What is completed stays so; this does the rest:\n  ${job.command}`);
  return 130;
}

/** First Ctrl-C: nothing starts any more, what runs gets a moment. Second: the end, which loses nothing. */
function stopOnCtrlC(runtime: DemoRuntime): AbortSignal {
  const pressed = new AbortController();
  let pressedAt = 0;
  process.on('SIGINT', () => {
    if (pressed.signal.aborted) {
      if (performance.now() - pressedAt > SAME_KEY_MS) process.exit(130);
      return;
    }
    pressedAt = performance.now();
    pressed.abort();
    console.error('\nStopping; running files get a moment. Ctrl-C again ends at once.');
    void runtime.stop({ graceMs: GRACE_MS });
  });
  return pressed.signal;
}

/**
 * Makes each file a task and waits until all are settled.
 *
 * A run that was killed may have enqueued all files, some, or none, and completed any of these. The next
 * run does not ask: it enqueues every file again, and the store keeps the task it has. Each key is held for
 * `KEY_MS`; without that it would be free when its task is final, and completed files would be taken in
 * once more. A hash stands for the path because a key has at most 512 characters.
 * @returns how long it took.
 */
async function runAll(runtime: DemoRuntime, job: Job, before: Totals): Promise<number> {
  using progress = new Progress(await measure(walk(job)), before);
  const open: Promise<unknown>[] = [];
  for await (const files of inBatches(walk(job), BATCH_FILES)) {
    const handles = await runtime.enqueueBatch(
      files.map(({ path }) => ({
        name: 'compress',
        payload: { path },
        options: { unique: { key: createHash('sha256').update(path).digest('hex'), forMs: KEY_MS } },
      })),
    );
    open.push(Promise.all(handles.map((handle, at) => settled(handle, files[at]!.bytes, progress))));
    if (open.length >= OPEN_BATCHES) await open.shift();
  }
  await Promise.all(open);
  return progress.elapsedMs;
}

/** A result that an earlier run left is there at once. */
async function settled(handle: Handle, bytes: number, progress: Progress): Promise<void> {
  try {
    await handle.result();
  } catch (error) {
    if (error instanceof StoppedError) return;
    if (!(error instanceof TaskDeadError)) throw error;
  }
  progress.add(bytes);
}

/** Reads everything back from the store and holds it against the folder: the table is proof, not hope. */
async function report(runtime: DemoRuntime, job: Job, before: Totals, elapsedMs: number): Promise<number> {
  const totals = await readTotals(runtime);
  let missing = 0;
  for await (const { path } of walk(job)) if (!totals.paths.has(path)) missing++;
  await runtime.stop();
  printTable(totals, { before, elapsedMs, missing });
  if (missing > 0 || totals.repeated > 0) {
    console.error(`The folder changed meanwhile, or something is wrong. This goes on:\n  ${job.command}`);
    return 1;
  }
  finishJob(job);
  console.error(`All is in ${job.store}. The same command begins anew.`);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  // What has a code is for the user: a locked store, an unknown option. Anything else needs its stack.
  const isExpected = error instanceof Refusal || (error instanceof Error && 'code' in error);
  console.error(isExpected ? `demo: ${error.message}` : error);
  process.exitCode = 1;
}
