/**
 * Large payloads and results in files, on the side of a thread: it reads payloads that a reference stands for
 * (`src/task/blob-ref.ts`), and writes large results into files of its own, so that neither passes through
 * the host. Blocks its thread and no other. What it has written counts only once the host has stored the
 * reference, and the host makes it durable before.
 */
import { closeSync, openSync, readvSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { StoreCorruptError } from '../src/errors.js';
import {
  BLOB_FILE_BYTES,
  blobChecksum,
  blobFileName,
  decodeBlobRef,
  encodeBlobRef,
} from '../src/task/blob-ref.js';
import { type Codec, decodeOwn } from '../src/task/codec.js';

/** What a thread is told of the folder. */
export interface BlobSetup {
  readonly folder: string;
  /** Its own number: nobody else writes to files of this writer. */
  readonly writer: number;
  /** From this size on a result goes into a file, bytes. */
  readonly leastBytes: number;
}

export class ThreadBlobs {
  readonly #setup: BlobSetup;
  readonly #closed: (before: number) => void;
  /** Of the file that is written to, or of the next one. */
  #serial = 0;
  #file: number | undefined;
  #end = 0;
  #toldBefore = 0;

  /** @param closed  Told that nothing more will be written to files before the one of this serial. */
  constructor(setup: BlobSetup, closed: (before: number) => void) {
    this.#setup = setup;
    this.#closed = closed;
  }

  get leastBytes(): number {
    return this.#setup.leastBytes;
  }

  /**
   * @throws {StoreCorruptError} when the bytes are not there or not the same; what the system says when they
   *   cannot be read now; as `decodeValue`.
   */
  decode(reference: Uint8Array, codecs: ReadonlyMap<string, Codec>): unknown {
    const { file, offset, bytes, crc } = decodeBlobRef(reference);
    const path = join(this.#setup.folder, file);
    // The first byte says how to read the rest, which may then be the value as it is.
    const kind = new Uint8Array(1);
    // Not zeroed before: that alone took as long as reading 1 MB.
    const rest = new Uint8Array(Buffer.allocUnsafeSlow(bytes - 1).buffer);
    read(path, [kind, rest], offset);
    if (blobChecksum(rest, blobChecksum(kind)) !== crc) {
      throw new StoreCorruptError(path, 'the checksum of a payload does not match');
    }
    return decodeOwn(kind[0], rest, codecs);
  }

  /** @returns the reference; `undefined` when it cannot be written, so that it has to go another way. */
  write(result: Uint8Array): Uint8Array | undefined {
    if (result.length >= BLOB_FILE_BYTES && this.#end > 0) this.#close();
    const id = { writer: this.#setup.writer, serial: this.#serial };
    try {
      this.#file ??= openSync(join(this.#setup.folder, blobFileName(id)), 'wx', 0o600);
      const offset = this.#end;
      for (let done = 0; done < result.length; ) {
        done += writeSync(this.#file, result, done, result.length - done, offset + done);
      }
      this.#end += result.length;
      if (this.#end >= BLOB_FILE_BYTES) this.#close();
      return encodeBlobRef(id, offset, result.length, blobChecksum(result));
    } catch {
      // The disk may be full: what was written of it is no good to anybody.
      this.#close();
      return undefined;
    }
  }

  /** Tells of files that are done with; to be called when the host can see all outcomes that are in them. */
  tell(): void {
    if (this.#toldBefore === this.#serial) return;
    this.#toldBefore = this.#serial;
    this.#closed(this.#serial);
  }

  #close(): void {
    if (this.#file === undefined) return;
    closeSync(this.#file);
    this.#file = undefined;
    this.#serial++;
    this.#end = 0;
  }
}

function read(path: string, buffers: readonly [Uint8Array, Uint8Array], offset: number): void {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ENOENT') throw error;
    throw new StoreCorruptError(path, 'it is missing', { cause: error });
  }
  try {
    fill(file, buffers, offset, path);
  } finally {
    closeSync(file);
  }
}

function fill(
  file: number,
  [kind, rest]: readonly [Uint8Array, Uint8Array],
  offset: number,
  path: string,
): void {
  let got = readvSync(file, [kind, rest], offset);
  const length = kind.length + rest.length;
  // A system may read less at a time, 2 GiB at most.
  while (got > 0 && got < length) {
    const more = readvSync(file, [rest.subarray(got - kind.length)], offset + got);
    if (more === 0) break;
    got += more;
  }
  if (got < length) throw new StoreCorruptError(path, 'it is too short');
}
