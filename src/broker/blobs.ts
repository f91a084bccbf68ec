/** The port to large payloads and results that are kept beside the tasks, in files. */

/**
 * Files of large payloads and results. In tasks and settlements a reference stands for their bytes
 * (`task/blob-ref.ts`). Threads read payloads and write results themselves; what this process is told of a
 * task (`Settled`, `TaskView`) holds the whole bytes.
 */
export interface Blobs {
  /** From this size on encoded bytes are kept in a file. */
  readonly leastBytes: number;
  readonly folder: string;
  /**
   * Writes an encoded payload. Resolves with the reference to enqueue in its place; flushed with the commit
   * that accepts it.
   * @throws (rejects) {@link QueueFullError} {@link StoreFullError} {@link StoreFencedError}
   *   {@link StoppedError}
   */
  write(body: Uint8Array): Promise<Uint8Array>;
  /** The payload of this reference will not be enqueued. Does nothing when it was, or is no reference. */
  drop(reference: Uint8Array): void;
  /** @throws (rejects) {@link StoreCorruptError} when the bytes are not there or not the same. */
  read(reference: Uint8Array): Promise<Uint8Array>;
  /** A number for one more thread that writes results; the next one of a file is 0. */
  openWriter(): number;
  /**
   * All results that this writer has put into files before the one of this serial are settled, or never will
   * be; without a serial, into any file.
   */
  closeWriter(writer: number, before?: number): void;
}
