/** The demo's task. Loaded by the worker threads; it knows nothing of queues, stores and other threads. */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
import { brotliCompressSync, constants as zlib } from 'node:zlib';
import { NotRetryableError, type TaskContext, task } from 'millrace/task';

/** What becomes of one file. The path is part of it because a completed task keeps only its result. */
export interface Compressed {
  readonly path: string;
  readonly bytes: number;
  readonly compressedBytes: number;
  readonly sha256: string;
  readonly thread: number;
}

/** Results and keys are kept for a year, so that an interrupted run can wait that long to be finished. */
export const KEPT_MS = 365 * 86_400_000;

const BROTLI = { params: { [zlib.BROTLI_PARAM_QUALITY]: 5 } };
/** One block per thread is enough: a thread runs one handler at a time, and this handler never awaits. */
const block = Buffer.allocUnsafe(1_048_576);

/**
 * Hashes a file and compresses it block by block, each block a stream of its own. So memory is bounded, however
 * large the file, and between two blocks there is time to see that the task is to stop.
 */
export const compress = task(
  ({ path }: { path: string }, context: TaskContext): Compressed => {
    const file = openRegular(path);
    try {
      const hash = createHash('sha256');
      let bytes = 0;
      let compressedBytes = 0;
      for (let length = readSync(file, block); length > 0; length = readSync(file, block)) {
        if (context.isAborted()) throw new Error(`Aborted after ${bytes} bytes`);
        const content = block.subarray(0, length);
        hash.update(content);
        bytes += length;
        compressedBytes += brotliCompressSync(content, BROTLI).length;
      }
      return { path, bytes, compressedBytes, sha256: hash.digest('hex'), thread: threadId };
    } finally {
      closeSync(file);
    }
  },
  {
    timeoutMs: 3_600_000,
    // Another attempt would meet the same; anything else, say EIO or EMFILE, gets two more.
    notRetryable: ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'ELOOP', 'ENAMETOOLONG', 'ENXIO'],
    retentionMs: { completed: KEPT_MS, dead: KEPT_MS },
  },
);

/**
 * Opens a file that has not become something else since the walk. Looked at before, because to open a device may
 * have an effect, and after, because it may be replaced in between; without blocking, because a pipe would wait for
 * its writer. A folder comes here when the walk could not read it: to open it says why.
 */
function openRegular(path: string): number {
  const found = lstatSync(path);
  if (!found.isFile() && !found.isDirectory()) throw new NotRetryableError(`Not a regular file: ${path}`);
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  if (fstatSync(file).isFile()) return file;
  closeSync(file);
  throw new NotRetryableError(`Not a regular file: ${path}`);
}
