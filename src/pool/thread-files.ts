/**
 * Where one thread, or child, finds large payloads and puts large results. It is told with its first batch,
 * not when it boots: threads may boot before the folder is theirs. Reads and writes nothing itself.
 */
import type { BlobSetup } from '../../workers/blobs.js';
import type { Blobs } from '../broker/blobs.js';

export class ThreadFiles {
  readonly #find: () => Blobs | undefined;
  #blobs: Blobs | undefined;
  #writer = 0;
  #isAsked = false;

  constructor(find: () => Blobs | undefined = () => undefined) {
    this.#find = find;
  }

  /** For its first batch; `undefined` afterwards, and where payloads and results come and go inline. */
  first(): BlobSetup | undefined {
    if (this.#isAsked) return undefined;
    this.#isAsked = true;
    this.#blobs = this.#find();
    if (this.#blobs === undefined) return undefined;
    this.#writer = this.#blobs.openWriter();
    const { folder, leastBytes } = this.#blobs;
    return { folder, leastBytes, writer: this.#writer };
  }

  /** It is done with its files before the one of this serial; without one, with all of them. */
  close(before?: number): void {
    this.#blobs?.closeWriter(this.#writer, before);
  }
}
