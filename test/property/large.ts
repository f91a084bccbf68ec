/** Large payloads and results beside the model: what references stand for, and which files may be there. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Blobs } from '#src/broker/blobs.js';
import type { BlobFiles } from '#src/broker/embedded/blobs.js';
import type { Tables } from '#src/broker/embedded/tables.js';
import { BLOBS_FOLDER, openBlobFiles } from '#src/broker/lmdb/blob-files.js';
import { isBlobRef } from '#src/task/blob-ref.js';
import type { NewTask } from '#src/task/task.js';
import { ThreadBlobs } from '#workers/blobs.js';
import { payloadFor, textOf } from '../fixtures/kill-oracle.js';
import type { ModelDraft } from './model.js';

export class LargeBytes {
  readonly #folder: string;
  readonly #texts = new Map<string, string>();
  #files!: BlobFiles;
  #blobs!: Blobs;
  #thread!: ThreadBlobs;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async open(tables: Tables, onCorrupt: (error: Error) => void): Promise<BlobFiles> {
    this.#files = await openBlobFiles(this.#folder, 1, tables, onCorrupt);
    // What is referred to is recounted when everything is in order again.
    const rows = tables.range('blob', { start: '', end: '\u0100', limit: 1_000_000 });
    this.check(Object.fromEntries(rows.map(([file]) => [file, 1])));
    return this.#files;
  }

  /** Works with these from now on, like a thread. */
  use(blobs: Blobs): void {
    const { folder, leastBytes } = blobs;
    const writer = blobs.openWriter();
    this.#blobs = blobs;
    this.#thread = new ThreadBlobs({ folder, leastBytes, writer }, (before) =>
      blobs.closeWriter(writer, before),
    );
  }

  /** The task as it is enqueued; its payload is in a file when it is large. */
  async taskOf({ text, ...fields }: ModelDraft): Promise<NewTask> {
    const body = payloadFor(text);
    if (body.length < this.#blobs.leastBytes) return { ...fields, body };
    const reference = await this.#blobs.write(body);
    this.#texts.set(Buffer.from(reference).toString('hex'), text);
    return { ...fields, body: reference };
  }

  drop(tasks: readonly NewTask[]): void {
    for (const { body } of tasks) this.#blobs.drop(body);
  }

  textOf(body: Uint8Array): string {
    return isBlobRef(body) ? this.#texts.get(Buffer.from(body).toString('hex'))! : textOf(body);
  }

  resultFor(text: string): Uint8Array {
    const result = payloadFor(`result ${text}`);
    return (result.length < this.#thread.leastBytes ? undefined : this.#thread.write(result)) ?? result;
  }

  /** The outcomes of all results so far are in the hands of the broker. */
  tell(): void {
    this.#thread.tell();
  }

  /** The owner is dead: it does nothing any more, and leaves its files as they are. */
  async die(): Promise<void> {
    this.#files.onClosed = () => {};
    await this.#files.close();
  }

  /** When nobody writes, only what is needed is there. */
  check(needed: Readonly<Record<string, number>>): void {
    const files = readdirSync(join(this.#folder, BLOBS_FOLDER));
    assert.deepEqual(files.sort(), Object.keys(needed).sort());
  }
}
