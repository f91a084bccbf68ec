/**
 * `running.bin`: which tasks are in the hands of threads, so that after a crash they are known as suspects.
 * One page per batch in flight, written with a single `pwrite` into the page cache, which survives SIGKILL;
 * power loss may lose it, and then nothing is suspected. It says nothing about what to run: the store alone
 * does.
 *
 *     page  [crc32 u32][epoch u32][runs u16][0 u16] then per run [segment u48][first index u16][count u16]
 *
 * A new owner replaces the file by one that begins with the suspects it has inherited, so that they stay
 * suspects when it dies as well; their pages are written again as they end one by one.
 */
import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { Hold } from '../broker.js';
import type { EmbeddedClaim } from '../embedded/claim.js';
import { getU48, putU48, readU16, readU48, taskKey } from '../embedded/keys.js';

export const PAGE_BYTES = 4096;
const HEADER_BYTES = 12;
const RUN_BYTES = 10;
const MAX_RUNS = Math.floor((PAGE_BYTES - HEADER_BYTES) / RUN_BYTES);

/**
 * Keys of the tasks that the newest epoch in the file had handed out. A missing or damaged file names none.
 */
export function readSuspects(path: string): Set<string> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return new Set();
  }
  let newest = 0;
  let suspects = new Set<string>();
  // The last page is written as far as it is used.
  for (let at = 0; at + HEADER_BYTES <= bytes.length; at += PAGE_BYTES) {
    const page = bytes.subarray(at, at + PAGE_BYTES);
    const used = HEADER_BYTES + page.readUInt16BE(8) * RUN_BYTES;
    if (used > page.length || used === HEADER_BYTES || crc32(page.subarray(4, used)) !== page.readUInt32BE(0))
      continue;
    const epoch = page.readUInt32BE(4);
    if (epoch < newest) continue;
    if (epoch > newest) suspects = new Set();
    newest = epoch;
    for (let run = HEADER_BYTES; run < used; run += RUN_BYTES) {
      const first = page.readUInt16BE(run + 6);
      for (let nth = 0; nth < page.readUInt16BE(run + 8); nth++)
        suspects.add(taskKey(getU48(page, run), first + nth));
    }
  }
  return suspects;
}

/** Segment and index of a task. */
type Place = readonly [segment: number, index: number];

export class RunningFile {
  readonly #file: number;
  readonly #epoch: number;
  readonly #page = Buffer.alloc(PAGE_BYTES);
  readonly #freePages: number[] = [];
  readonly #inherited: ReadonlySet<string>;
  readonly #inheritedPages: number;
  #pages: number;

  /**
   * Replaces what earlier epochs wrote: read it before.
   * @param inherited  Suspects that are still to be run; call `inheritedChanged` when one has ended.
   */
  constructor(path: string, epoch: number, inherited: ReadonlySet<string> = new Set()) {
    this.#epoch = epoch;
    this.#inherited = inherited;
    const pages = this.#inheritedRows();
    this.#pages = this.#inheritedPages = pages.length;
    writeFileSync(`${path}.new`, Buffer.concat(pages), { mode: 0o600 });
    renameSync(`${path}.new`, path);
    this.#file = openSync(path, 'r+');
  }

  hold(claims: readonly EmbeddedClaim[]): Hold {
    const numbers: number[] = [];
    for (let from = 0; from < claims.length; ) {
      const number = this.#freePages.pop() ?? this.#pages++;
      numbers.push(number);
      const { bytes, upTo } = this.#fill(claims.length, from, (at) => placeOf(claims[at]!));
      this.#write(bytes, number);
      from = upTo;
    }
    let isReleased = false;
    return {
      release: () => {
        if (isReleased) return;
        isReleased = true;
        // Empty, so that tasks which go back to their line are not suspected.
        for (const number of numbers) this.#write(this.#seal(HEADER_BYTES), number);
        this.#freePages.push(...numbers);
      },
    };
  }

  inheritedChanged(): void {
    const rows = this.#inheritedRows();
    for (let number = 0; number < this.#inheritedPages; number++) {
      this.#write(rows[number] ?? this.#seal(HEADER_BYTES), number);
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  #inheritedRows(): Buffer[] {
    const keys = [...this.#inherited].sort();
    const rows: Buffer[] = [];
    for (let from = 0; from < keys.length; ) {
      const { upTo } = this.#fill(keys.length, from, (at) => [readU48(keys[at]!, 0), readU16(keys[at]!, 6)]);
      rows.push(Buffer.from(this.#page));
      from = upTo;
    }
    return rows;
  }

  /** Fills the page with places in order, consecutive ones as one run, as far as they fit. */
  #fill(
    count: number,
    from: number,
    place: (at: number) => Place,
  ): { readonly bytes: Buffer; readonly upTo: number } {
    const page = this.#page;
    let used = HEADER_BYTES;
    let lastSegment = -1;
    let nextIndex = -1;
    let at = from;
    for (; at < count; at++) {
      const [segment, index] = place(at);
      if (segment === lastSegment && index === nextIndex) {
        page.writeUInt16BE(page.readUInt16BE(used - 2) + 1, used - 2);
      } else {
        if (used === HEADER_BYTES + MAX_RUNS * RUN_BYTES) break;
        putU48(page, segment, used);
        page.writeUInt16BE(index, used + 6);
        page.writeUInt16BE(1, used + 8);
        used += RUN_BYTES;
      }
      lastSegment = segment;
      nextIndex = index + 1;
    }
    return { bytes: this.#seal(used), upTo: at };
  }

  #seal(used: number): Buffer {
    const page = this.#page;
    page.writeUInt32BE(this.#epoch, 4);
    page.writeUInt16BE((used - HEADER_BYTES) / RUN_BYTES, 8);
    page.writeUInt16BE(0, 10);
    page.writeUInt32BE(crc32(page.subarray(4, used)), 0);
    return page.subarray(0, used);
  }

  #write(bytes: Buffer, number: number): void {
    try {
      writeSync(this.#file, bytes, 0, bytes.length, number * PAGE_BYTES);
    } catch {
      // A full disk must not stop work: the mark only tells suspects apart after a crash.
    }
  }
}

function placeOf({ record, segment, index }: EmbeddedClaim): Place {
  return record === undefined ? [segment.number, index] : [record.segment, record.index];
}
