/**
 * The main job: every file below a folder becomes a durable task that hashes and compresses it, on all cores.
 *
 *     npm run demo [-- FOLDER] [--all] [--threads N] [--data DIR]
 *
 * End it at any moment, by Ctrl-C, `kill -9` or the power switch, and give the same command again: it finishes the
 * rest and repeats nothing. Read on in `demo/tasks.ts`, which is what the worker threads load.
 */
import { createHash } from 'node:crypto';
import { type Handle, MillraceError, openRuntime, type Runtime, StoppedError, TaskDeadError } from 'millrace';
import { beginJob, finishJob, type Job, Refusal, readJob } from './demo/job.js';
import { Progress } from './demo/progress.js';
import { printReport } from './demo/table.js';
import { KEPT_MS } from './demo/tasks.js';
import { type Amount, readTotals, type Totals, unsettledFiles } from './demo/totals.js';
import { type FoundFile, inBatches, walk } from './demo/walk.js';

type DemoRuntime = Runtime<typeof import('./demo/tasks.js')>;

/** Files that are enqueued together, in one commit. */
const BATCH_FILES = 500;
/** Batches whose results are awaited at once: this bounds the memory, whatever the size of the folder. */
const OPEN_BATCHES = 40;
/** What running files get after Ctrl-C before they are aborted; they begin again in the next run. */
const GRACE_MS = 3_000;
/** npm passes a Ctrl-C on that the terminal has sent already; a user needs longer for a second one. */
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
    const progress = new Progress(await countFiles(job), before);
    try {
      await enqueueAll(runtime, job, progress);
    } finally {
      progress.end();
    }
    if (!ctrlC.isPressed()) return await report(runtime, job, { before, elapsedMs: progress.elapsedMs });
  } catch (error) {
    if (!(ctrlC.isPressed() && error instanceof StoppedError)) throw error;
  }
  await runtime.stop();
  console.error(`Stopped. What is done is kept; this goes on with the rest:\n  ${job.command}`);
  return 130;
}

/** First Ctrl-C: nothing starts any more, and what runs is given time. Second: the process ends, which loses nothing. */
function stopOnCtrlC(runtime: DemoRuntime): { isPressed: () => boolean } {
  let pressedAt: number | undefined;
  process.on('SIGINT', () => {
    const now = performance.now();
    if (pressedAt === undefined) {
      pressedAt = now;
      console.error('\nStopping; running files get a moment. Ctrl-C again ends at once.');
      void runtime.stop({ graceMs: GRACE_MS });
    } else if (now - pressedAt > SAME_KEY_MS) {
      process.exit(130);
    }
  });
  return { isPressed: () => pressedAt !== undefined };
}

async function countFiles(job: Job): Promise<Amount> {
  const total = { files: 0, bytes: 0 };
  for await (const { bytes } of walk(job)) {
    total.files++;
    total.bytes += bytes;
  }
  return total;
}

/**
 * Makes each file a task and waits until all are settled.
 *
 * A run that was killed may have enqueued some files, all, or none, and completed any of these. So a run does not
 * ask what the last one did: it enqueues every file again, and the store refuses what it knows. The key is held for
 * `KEPT_MS` and not until the task is final, or files completed before would be taken in once more. A hash stands for
 * the path because keys have at most 512 characters.
 */
async function enqueueAll(runtime: DemoRuntime, job: Job, progress: Progress): Promise<void> {
  const open: Promise<unknown>[] = [];
  for await (const files of inBatches(walk(job), BATCH_FILES)) {
    const handles = await runtime.enqueueBatch(
      files.map(({ path }) => ({
        name: 'compress',
        payload: { path },
        options: { unique: { key: createHash('sha256').update(path).digest('hex'), forMs: KEPT_MS } },
      })),
    );
    open.push(Promise.all(handles.map((handle, at) => settled(handle, files[at]!, progress))));
    if (open.length >= OPEN_BATCHES) await open.shift();
  }
  await Promise.all(open);
}

/** A result that was stored by an earlier run is there at once. */
async function settled(handle: Handle, file: FoundFile, progress: Progress): Promise<void> {
  try {
    await handle.result();
  } catch (error) {
    if (error instanceof StoppedError) return;
    if (!(error instanceof TaskDeadError)) throw error;
  }
  progress.add(file);
}

/** Reads everything back from the store, ends, and shows it. */
async function report(
  runtime: DemoRuntime,
  job: Job,
  run: { before: Totals; elapsedMs: number },
): Promise<number> {
  const totals = await readTotals(runtime);
  const missing = await unsettledFiles(totals, walk(job));
  await runtime.stop();
  const isSound = missing === 0 && totals.repeated === 0;
  if (isSound) finishJob(job);
  printReport({ totals, missing, ...run });
  console.error(
    isSound
      ? `The store is in ${job.store}. The same command begins anew.`
      : `Files appeared meanwhile, or were lost. The same command takes them in:\n  ${job.command}`,
  );
  return isSound ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof Refusal || error instanceof MillraceError)) throw error;
  console.error(`demo: ${error.message}`);
  process.exitCode = 1;
}
