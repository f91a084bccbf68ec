/** The demo's task, loaded by the worker threads. It knows nothing of queues, stores and other threads. */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
import { brotliCompressSync, constants as zlib } from 'node:zlib';
import { NotRetryableError, type TaskContext, task } from 'millrace/task';

/** What becomes of a file. It has the path because a completed task keeps its result, not its payload. */
export interface Compressed {
  readonly path: string;
  readonly bytes: number;
  readonly compressedBytes: number;
  readonly sha256: string;
  readonly thread: number;
}

const BROTLI = { params: { [zlib.BROTLI_PARAM_QUALITY]: 5 } };
/** One for each thread is enough: this handler never awaits, so a thread has one file open at a time. */
const block = Buffer.allocUnsafe(1_048_576);

/**
 * Hashes a file and compresses it block by block, each block a stream of its own. So memory is bounded,
 * however large the file, and between two blocks the handler sees that it is to stop.
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
    // After these the task is a dead letter at once. Anything else, say EIO, gets two more attempts.
    notRetryable: ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'ELOOP', 'ENAMETOOLONG', 'ENXIO'],
    retentionMs: { completed: Number.POSITIVE_INFINITY, dead: Number.POSITIVE_INFINITY },
  },
);

/**
 * Opens a file that is still one. It is looked at before, because to open a device may do something, and
 * after, because it may have been replaced in between; without blocking, because a pipe would wait for its
 * writer. A folder is passed on when the walk could not read it: to open it says why.
 */
function openRegular(path: string): number {
  const found = lstatSync(path);
  if (found.isFile() || found.isDirectory()) {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    if (fstatSync(file).isFile()) return file;
    closeSync(file);
  }
  throw new NotRetryableError('not a regular file');
}
