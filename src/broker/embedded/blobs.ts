/**
 * Which files of large payloads and results are still needed. The table `blob` holds, for each file, how many
 * of its bytes tasks refer to; it changes in the commit that stores or drops the reference, and a file goes
 * when a commit has said that nothing refers to it.
 *
 *     write ─▶ gain, with the enqueue or settlement ─▶ sync, then commit ─▶ lose ─▶ commit ─▶ removed
 *        └───▶ drop: it was not enqueued after all
 *
 * A file is kept, too, while somebody may still refer to more of it: it is being written, a payload in it is
 * on its way to its enqueue, or a result in it is being read. What a crash leaves is found by the next owner.
 * This file opens no file; whoever keeps them is the port `BlobFiles`.
 */
import { QueueFullError, StoreFencedError, StoreFullError } from '../../errors.js';
import { decodeBlobRef, isBlobRef, LEAST_BLOB_BYTES } from '../../task/blob-ref.js';
import type { TaskView } from '../../task/task.js';
import type { Blobs } from '../blobs.js';
import type { Settled } from '../broker.js';
import { getU48, putU48 } from './keys.js';
import type { Tables } from './tables.js';

/** The files themselves. */
export interface BlobFiles {
  readonly folder: string;
  /** Of all files, up to the last byte that is referred to; kept by {@link EmbeddedBlobs}. */
  usedBytes: number;
  /** Told that nothing more will be written to a file. */
  onClosed: (file: string) => void;
  /** @returns the reference. @throws (rejects) {@link StoreFullError}, or what the system said. */
  write(bytes: Uint8Array): Promise<Uint8Array>;
  /** @throws (rejects) {@link StoreCorruptError} */
  read(reference: Uint8Array): Promise<Uint8Array>;
  /** Makes files durable; their names, too, when `areNew`. */
  sync(files: readonly string[], areNew: boolean): Promise<void>;
  /** Nothing more will be written to it. */
  isClosed(file: string): boolean;
  /** Removes a closed file, later and quietly. */
  remove(file: string): void;
  openWriter(): number;
  closeWriter(writer: number, before: number): void;
  /** Closes all files; resolves when what was under way has ended. */
  close(): Promise<void>;
}

/** What the blobs need of the broker. */
export interface BlobsHost {
  readonly tables: Tables;
  readonly commits: {
    readonly pendingBytes: number;
    /** Why nothing can be made durable any more. */
    readonly ended: Error | undefined;
    /** @throws {StoreFencedError} {@link StoppedError} */
    check(): void;
    changed(): Promise<void>;
  };
  readonly limits: {
    readonly maxPendingBytes: number;
    readonly checkSpace?: (tasks: number, bytes: number) => void;
  };
  readonly onCorrupt: (error: Error) => void;
}

const ROW_BYTES = 12;

export class EmbeddedBlobs implements Blobs {
  readonly leastBytes = LEAST_BLOB_BYTES;
  readonly #host: BlobsHost;
  readonly #files: BlobFiles;
  /** Payloads that are written and not enqueued yet. */
  readonly #written = new Set<string>();
  /** Why a file must stay although no row speaks of it: how often, by file. */
  readonly #holds = new Map<string, number>();
  /** Closed or not, these would go if nobody held them. */
  readonly #unneeded = new Set<string>();
  /** What the next commit refers to anew, to be made durable before it. */
  #gained = new Set<string>();
  #areNew = false;
  /** Files that the next commit, and the one in flight, say are not needed any more. */
  #emptied = new Set<string>();
  #emptying = new Set<string>();
  /** Bytes on their way into files. */
  #pendingBytes = 0;
  #broken: Error | undefined;
  #isOver = false;

  constructor(host: BlobsHost, files: BlobFiles) {
    this.#host = host;
    this.#files = files;
    files.onClosed = (file) => this.#removeIfUnneeded(file);
  }

  get folder(): string {
    return this.#files.folder;
  }

  // For those who enqueue, and for threads.

  async write(body: Uint8Array): Promise<Uint8Array> {
    const { commits, limits } = this.#host;
    commits.check();
    const pending = commits.pendingBytes + this.#pendingBytes;
    if (pending > 0 && pending + body.length > limits.maxPendingBytes) {
      throw new QueueFullError(
        'Bytes that wait for their flush',
        pending + body.length,
        limits.maxPendingBytes,
      );
    }
    limits.checkSpace?.(0, body.length);
    this.#pendingBytes += body.length;
    try {
      const reference = await this.#files.write(body);
      const { file, offset } = decodeBlobRef(reference);
      this.#written.add(`${file}/${offset}`);
      this.#hold(file);
      return reference;
    } catch (error) {
      throw error instanceof StoreFullError ? error : this.#break(error);
    } finally {
      this.#pendingBytes -= body.length;
    }
  }

  drop(reference: Uint8Array): void {
    if (isBlobRef(reference)) this.#arrived(reference);
  }

  async read(reference: Uint8Array): Promise<Uint8Array> {
    const { file } = decodeBlobRef(reference);
    this.#hold(file);
    try {
      return await this.#files.read(reference);
    } finally {
      this.#release(file);
    }
  }

  openWriter(): number {
    return this.#files.openWriter();
  }

  closeWriter(writer: number, before = Number.POSITIVE_INFINITY): void {
    this.#files.closeWriter(writer, before);
  }

  // For the broker: bytes that are no reference are none of its business.

  /** A task, or its result, refers to this from the next commit on. */
  gain(bytes: Uint8Array): void {
    if (!isBlobRef(bytes)) return;
    const { file, offset, bytes: length } = decodeBlobRef(bytes);
    const row = this.#rowOf(file);
    const end = Math.max(row.end, offset + length);
    this.#files.usedBytes += end - row.end;
    this.#put(file, row.live + length, end);
    if (row.end === 0) this.#areNew = true;
    this.#gained.add(file);
    this.#emptied.delete(file);
    this.#arrived(bytes);
  }

  /** From the next commit on it does not. */
  lose(bytes: Uint8Array | undefined): void {
    if (bytes === undefined || !isBlobRef(bytes)) return;
    const { file, bytes: length } = decodeBlobRef(bytes);
    const { live, end } = this.#rowOf(file);
    if (live > length) {
      this.#put(file, live - length, end);
      return;
    }
    this.#files.usedBytes -= end;
    this.#host.tables.delete('blob', file);
    this.#gained.delete(file);
    this.#emptied.add(file);
  }

  /** A commit begins. @returns when what it refers to anew is durable; `undefined` when that is nothing. */
  flush(): Promise<void> | undefined {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    this.#emptying = this.#emptied;
    this.#emptied = new Set();
    if (this.#gained.size === 0) return undefined;
    const files = [...this.#gained];
    const areNew = this.#areNew;
    this.#gained = new Set();
    this.#areNew = false;
    return this.#files.sync(files, areNew);
  }

  /** It is flushed: what it does not need any more goes. */
  committed(): void {
    const emptied = this.#emptying;
    this.#emptying = new Set();
    for (const file of emptied) this.#removeIfUnneeded(file);
  }

  /** How a task ended, with the bytes of its result. @throws (rejects) {@link StoreCorruptError} */
  async whole(settled: Settled): Promise<Settled> {
    const { id, state, result } = settled;
    if (result === undefined || !isBlobRef(result)) return settled;
    return { id, state, result: await this.read(result) };
  }

  /**
   * A task with its bytes. @param ifDamaged  `throw` {@link StoreCorruptError}, or `omit` what cannot be read
   * and report it.
   */
  async wholeView(view: TaskView, ifDamaged: 'throw' | 'omit'): Promise<TaskView> {
    const { body, result, ...rest } = view;
    if (!(body !== undefined && isBlobRef(body)) && !(result !== undefined && isBlobRef(result))) return view;
    try {
      const [wholeBody, wholeResult] = await Promise.all([this.#whole(body), this.#whole(result)]);
      return {
        ...rest,
        ...(wholeBody === undefined ? {} : { body: wholeBody }),
        ...(wholeResult === undefined ? {} : { result: wholeResult }),
      };
    } catch (error) {
      if (ifDamaged === 'throw') throw error;
      this.#host.onCorrupt(error as Error);
      return rest;
    }
  }

  async close(): Promise<void> {
    await this.#files.close();
    for (const file of [...this.#unneeded]) this.#removeIfUnneeded(file);
    this.#isOver = true;
    await this.#files.close();
  }

  async #whole(bytes: Uint8Array | undefined): Promise<Uint8Array | undefined> {
    return bytes !== undefined && isBlobRef(bytes) ? this.read(bytes) : bytes;
  }

  /** After a write error nothing can be promised any more: the next commit fails with it. */
  #break(error: unknown): Error {
    const cause = error instanceof Error ? error : new Error(String(error));
    this.#broken ??= cause;
    this.#host.commits.changed().catch(() => {});
    return new StoreFencedError(`a payload could not be written (${cause.message})`, { cause });
  }

  #arrived(reference: Uint8Array): void {
    const { file, offset } = decodeBlobRef(reference);
    if (this.#written.delete(`${file}/${offset}`)) this.#release(file);
  }

  #hold(file: string): void {
    this.#holds.set(file, (this.#holds.get(file) ?? 0) + 1);
  }

  #release(file: string): void {
    const left = this.#holds.get(file)! - 1;
    if (left > 0) {
      this.#holds.set(file, left);
      return;
    }
    this.#holds.delete(file);
    this.#removeIfUnneeded(file);
  }

  #removeIfUnneeded(file: string): void {
    this.#unneeded.delete(file);
    // A fenced store may have another owner by now, whose files these are.
    if (this.#isOver || this.#host.commits.ended instanceof StoreFencedError) return;
    if (this.#host.tables.has('blob', file)) return;
    // The commit that says so comes back to it.
    if (this.#emptied.has(file) || this.#emptying.has(file)) return;
    if (this.#holds.has(file) || !this.#files.isClosed(file)) this.#unneeded.add(file);
    else this.#files.remove(file);
  }

  #rowOf(file: string): { readonly live: number; readonly end: number } {
    const row = this.#host.tables.get('blob', file);
    return row === undefined ? { live: 0, end: 0 } : readBlobRow(row);
  }

  #put(file: string, live: number, end: number): void {
    const row = Buffer.allocUnsafe(ROW_BYTES);
    putU48(row, live, 0);
    putU48(row, end, 6);
    this.#host.tables.put('blob', file, row);
  }
}

/** What the table `blob` says of a file: bytes that are referred to, and where the last of them ends. */
export function readBlobRow(row: Uint8Array): { readonly live: number; readonly end: number } {
  return { live: getU48(row, 0), end: getU48(row, 6) };
}
