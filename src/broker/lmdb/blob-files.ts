/**
 * The folder `blobs/` beside the data: append-only files of large payloads and results. The host writes
 * payloads here without holding up its event loop, threads write results into files of their own
 * (`workers/blobs.ts`), and nothing in it counts until a commit refers to it. Which files are needed is known
 * to `embedded/blobs.ts`; this file decides nothing about that, it only keeps them.
 *
 * Why files, and not values of LMDB that threads read from the map: a thread needs no addon, no read
 * transaction and no ready handshake, the host copies no page of it into a transaction, and a thread that
 * reads and checks 1 MB or 8 MB this way was 1.3 to 2.3 times as fast as one that does so from the map.
 */
import { mkdirSync } from 'node:fs';
import { type FileHandle, open, statfs, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { StoreCorruptError, StoreFullError } from '../../errors.js';
import { errnoOf, syncFolder } from '../../owner/durable-file.js';
import {
  BLOB_FILE_BYTES,
  type BlobFile,
  blobChecksum,
  blobFileName,
  decodeBlobRef,
  encodeBlobRef,
  parseBlobFileName,
} from '../../task/blob-ref.js';
import type { BlobFiles } from '../embedded/blobs.js';
import type { Tables } from '../embedded/tables.js';
import { recoverBlobs } from './blob-recovery.js';
import { Semaphore } from './semaphore.js';

export const BLOBS_FOLDER = 'blobs';
/** Read, written and checked at a time: what takes longer goes on in another turn of the event loop. */
const CHUNK_BYTES = 1_048_576;
/** Reads, writes and flushes at once, of each kind: what bounds open files. */
const AT_ONCE = 8;
/** Threads of one owner after which its numbers run into those of the next epoch. */
const WRITERS_PER_EPOCH = 4_096;

/** A file that this process appends to. */
interface OpenFile extends BlobFile {
  readonly name: string;
  readonly handle: Promise<FileHandle>;
  /** Where the next bytes go. */
  end: number;
  /** Writes and flushes under way. */
  users: number;
  /** Nothing more is to be appended. */
  isFull: boolean;
}

/**
 * Opens the folder of blobs and puts it in order: what no row speaks of is removed, what one speaks of and is
 * not there is reported.
 * @param epoch  The owner's: one that was taken for dead and is not writes to files of other names.
 */
export async function openBlobFiles(
  dataFolder: string,
  epoch: number,
  tables: Tables,
  onCorrupt: (error: Error) => void,
): Promise<BlobFiles> {
  const folder = join(dataFolder, BLOBS_FOLDER);
  if (mkdirSync(folder, { recursive: true, mode: 0o700 }) !== undefined) syncFolder(dataFolder);
  const { usedBytes, nextWriter } = await recoverBlobs(folder, tables, onCorrupt);
  const firstWriter = Math.max(nextWriter, (epoch % 2 ** 20) * WRITERS_PER_EPOCH);
  return new LocalBlobFiles(folder, usedBytes, firstWriter);
}

class LocalBlobFiles implements BlobFiles {
  readonly folder: string;
  usedBytes: number;
  onClosed: (file: string) => void = () => {};
  readonly #host: number;
  #nextWriter: number;
  #nextSerial = 0;
  /** Takes small blobs. */
  #current: OpenFile | undefined;
  readonly #open = new Map<string, OpenFile>();
  /** First file of each thread that is not closed. */
  readonly #threads = new Map<number, number>();
  readonly #reads = new Semaphore(AT_ONCE);
  readonly #writes = new Semaphore(AT_ONCE);
  readonly #syncs = new Semaphore(AT_ONCE);
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(folder: string, usedBytes: number, firstWriter: number) {
    this.folder = folder;
    this.usedBytes = usedBytes;
    this.#host = firstWriter;
    this.#nextWriter = firstWriter + 1;
  }

  write(bytes: Uint8Array): Promise<Uint8Array> {
    return this.#writes.during(() => this.#write(bytes));
  }

  async #write(bytes: Uint8Array): Promise<Uint8Array> {
    const file = this.#fileFor(bytes.length);
    const offset = file.end;
    file.end += bytes.length;
    if (file.end >= BLOB_FILE_BYTES) this.#fill(file);
    file.users++;
    let isTorn = true;
    try {
      const handle = await file.handle;
      let crc = 0;
      for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
        const chunk = bytes.subarray(at, at + CHUNK_BYTES);
        crc = blobChecksum(chunk, crc);
        await writeAll(handle, chunk, offset + at);
      }
      isTorn = false;
      return encodeBlobRef(file, offset, bytes.length, crc);
    } catch (error) {
      throw await this.#explained(error, bytes.length);
    } finally {
      // Others may have written to the file, and will to another one.
      if (isTorn) this.#fill(file);
      this.#done(file);
      if (isTorn) this.onClosed(file.name);
    }
  }

  async read(reference: Uint8Array): Promise<Uint8Array> {
    const { file, offset, bytes: length, crc } = decodeBlobRef(reference);
    const path = join(this.folder, file);
    try {
      return await this.#reads.during(async () => {
        const handle = await open(path, 'r');
        try {
          return await readAll(handle, offset, length, crc, path);
        } finally {
          await handle.close();
        }
      });
    } catch (error) {
      if (error instanceof StoreCorruptError) throw error;
      const why = errnoOf(error) === 'ENOENT' ? 'it is missing' : `it cannot be read (${errnoOf(error)})`;
      throw new StoreCorruptError(path, why, { cause: error });
    }
  }

  async sync(files: readonly string[], areNew: boolean): Promise<void> {
    const synced = files.map((file) => this.#syncs.during(() => this.#syncFile(file)));
    await Promise.all(areNew ? [...synced, syncNames(this.folder)] : synced);
  }

  isClosed(name: string): boolean {
    if (this.#open.has(name)) return false;
    const { writer, serial } = parseBlobFileName(name)!;
    const first = this.#threads.get(writer);
    return first === undefined || serial < first;
  }

  remove(name: string): void {
    this.#track(unlink(join(this.folder, name)).catch(() => {}));
  }

  openWriter(): number {
    this.#threads.set(this.#nextWriter, 0);
    return this.#nextWriter++;
  }

  closeWriter(writer: number, before: number): void {
    const first = this.#threads.get(writer);
    if (first === undefined) return;
    if (before === Number.POSITIVE_INFINITY) {
      this.#threads.delete(writer);
      this.#track(this.#closeFrom(writer, first));
      return;
    }
    this.#threads.set(writer, Math.max(first, before));
    for (let serial = first; serial < before; serial++) this.onClosed(blobFileName({ writer, serial }));
  }

  async close(): Promise<void> {
    for (const writer of [...this.#threads.keys()]) this.closeWriter(writer, Number.POSITIVE_INFINITY);
    for (const file of [...this.#open.values()]) {
      this.#fill(file);
      file.users++;
      this.#done(file);
    }
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /** Files of a thread that is gone: they have serials without a gap. */
  async #closeFrom(writer: number, first: number): Promise<void> {
    for (let serial = first; ; serial++) {
      const name = blobFileName({ writer, serial });
      try {
        await (await open(join(this.folder, name), 'r')).close();
      } catch {
        return;
      }
      this.onClosed(name);
    }
  }

  #fileFor(bytes: number): OpenFile {
    if (bytes >= BLOB_FILE_BYTES) return this.#create();
    this.#current ??= this.#create();
    return this.#current;
  }

  #create(): OpenFile {
    const id = { writer: this.#host, serial: this.#nextSerial++ };
    const name = blobFileName(id);
    const handle = open(join(this.folder, name), 'wx', 0o600);
    handle.catch(() => {});
    const file: OpenFile = { ...id, name, handle, end: 0, users: 0, isFull: false };
    this.#open.set(name, file);
    return file;
  }

  #fill(file: OpenFile): void {
    file.isFull = true;
    if (this.#current === file) this.#current = undefined;
  }

  #done(file: OpenFile): void {
    file.users--;
    if (file.users > 0 || !file.isFull || !this.#open.delete(file.name)) return;
    this.#track(file.handle.then((handle) => handle.close()).catch(() => {}));
  }

  async #syncFile(name: string): Promise<void> {
    const file = this.#open.get(name);
    if (file === undefined) {
      const handle = await open(join(this.folder, name), 'r+');
      try {
        await handle.datasync();
      } finally {
        await handle.close();
      }
      return;
    }
    file.users++;
    try {
      await (await file.handle).datasync();
    } finally {
      this.#done(file);
    }
  }

  /** A full disk is the caller's to bear, as any other high-water mark. */
  async #explained(error: unknown, bytes: number): Promise<unknown> {
    if (!['ENOSPC', 'EDQUOT'].includes(errnoOf(error))) return error;
    const { bavail, bsize } = await statfs(this.folder);
    return new StoreFullError(this.folder, 'minFreeBytes', bavail * bsize - bytes, 0);
  }

  #track(work: Promise<unknown>): void {
    this.#underWay.add(work);
    void work.finally(() => this.#underWay.delete(work));
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await handle.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}

async function readAll(
  handle: FileHandle,
  offset: number,
  length: number,
  crc: number,
  path: string,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
  let found = 0;
  for (let at = 0; at < length; ) {
    const size = Math.min(CHUNK_BYTES, length - at);
    const { bytesRead } = await handle.read(bytes, at, size, offset + at);
    if (bytesRead === 0) throw new StoreCorruptError(path, 'it is too short');
    found = blobChecksum(bytes.subarray(at, at + bytesRead), found);
    at += bytesRead;
  }
  if (found !== crc) throw new StoreCorruptError(path, 'the checksum of a payload or result does not match');
  return bytes;
}

/** As `syncFolder`, off the main thread. */
async function syncNames(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP', 'EPERM', 'EISDIR'].includes(errnoOf(error))) throw error;
  } finally {
    await handle.close();
  }
}
