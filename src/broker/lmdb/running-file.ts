/**
 * `running.bin`: which tasks are in the hands of threads, so that after a crash they are known as suspects. One page
 * per batch in flight, written with a single `pwrite` into the page cache, which survives SIGKILL; power loss may
 * lose it, and then nothing is suspected. It says nothing about what to run: the store alone does.
 *
 *     page  [crc32 u32][epoch u32][runs u16][0 u16] then per run [segment u48][first index u16][count u16]
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { Hold } from '../broker.js';
import type { EmbeddedClaim } from '../embedded/claim.js';
import { getU48, putU48, taskKey } from '../embedded/keys.js';

export const PAGE_BYTES = 4096;
const HEADER_BYTES = 12;
const RUN_BYTES = 10;
const MAX_RUNS = Math.floor((PAGE_BYTES - HEADER_BYTES) / RUN_BYTES);

/** Keys of the tasks that the newest epoch in the file had handed out. A missing or damaged file names none. */
export function readSuspects(path: string): Set<string> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return new Set();
  }
  let newest = 0;
  let suspects = new Set<string>();
  for (let at = 0; at + PAGE_BYTES <= bytes.length; at += PAGE_BYTES) {
    const page = bytes.subarray(at, at + PAGE_BYTES);
    const used = HEADER_BYTES + page.readUInt16BE(8) * RUN_BYTES;
    if (used > PAGE_BYTES || used === HEADER_BYTES || crc32(page.subarray(4, used)) !== page.readUInt32BE(0)) continue;
    const epoch = page.readUInt32BE(4);
    if (epoch < newest) continue;
    if (epoch > newest) suspects = new Set();
    newest = epoch;
    for (let run = HEADER_BYTES; run < used; run += RUN_BYTES) {
      const first = page.readUInt16BE(run + 6);
      for (let nth = 0; nth < page.readUInt16BE(run + 8); nth++) suspects.add(taskKey(getU48(page, run), first + nth));
    }
  }
  return suspects;
}

export class RunningFile {
  readonly #file: number;
  readonly #epoch: number;
  readonly #page = Buffer.alloc(PAGE_BYTES);
  readonly #freePages: number[] = [];
  #pages = 0;

  /** Forgets what earlier epochs wrote: read it before. */
  constructor(path: string, epoch: number) {
    this.#file = openSync(path, 'w', 0o600);
    this.#epoch = epoch;
  }

  hold(claims: readonly EmbeddedClaim[]): Hold {
    const number = this.#freePages.pop() ?? this.#pages++;
    const used = this.#fill(claims);
    try {
      writeSync(this.#file, this.#page, 0, used, number * PAGE_BYTES);
    } catch {
      // A full disk must not stop work: the mark only tells suspects apart after a crash.
    }
    let isReleased = false;
    return {
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#freePages.push(number);
      },
    };
  }

  close(): void {
    closeSync(this.#file);
  }

  #fill(claims: readonly EmbeddedClaim[]): number {
    const page = this.#page;
    let used = HEADER_BYTES;
    let lastSegment = -1;
    let nextIndex = -1;
    for (const { record, segment, index } of claims) {
      const number = record?.segment ?? segment.number;
      const place = record?.index ?? index;
      if (number === lastSegment && place === nextIndex) {
        const count = page.readUInt16BE(used - 2) + 1;
        page.writeUInt16BE(count, used - 2);
      } else if (used < HEADER_BYTES + MAX_RUNS * RUN_BYTES) {
        putU48(page, number, used);
        page.writeUInt16BE(place, used + 6);
        page.writeUInt16BE(1, used + 8);
        used += RUN_BYTES;
      }
      lastSegment = number;
      nextIndex = place + 1;
    }
    page.writeUInt32BE(this.#epoch, 4);
    page.writeUInt16BE((used - HEADER_BYTES) / RUN_BYTES, 8);
    page.writeUInt16BE(0, 10);
    page.writeUInt32BE(crc32(page.subarray(4, used)), 0);
    return used;
  }
}
