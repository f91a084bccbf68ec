/** Shows on stderr how far it is: a bar that is redrawn on a terminal, and a line for every 10 % anywhere else. */
import { formatBytes, formatCount } from './table.js';
import type { Amount } from './totals.js';
import type { FoundFile } from './walk.js';

const REDRAW_MS = 100;
const BAR_CHARS = 24;
/** A file costs about as much as so many of its bytes, so that a thousand small files are not "nothing". */
const FILE_COST_BYTES = 8_192;

export class Progress {
  readonly #total: Amount;
  readonly #before: Amount;
  readonly #done = { files: 0, bytes: 0 };
  readonly #startedAt = performance.now();
  readonly #redraw: NodeJS.Timeout | undefined;
  #tenth: number;

  /** @param before  What earlier runs did: it counts as done, but not as speed. */
  constructor(total: Amount, before: Amount) {
    this.#total = total;
    this.#before = before;
    this.#tenth = Math.floor(this.#share(before) * 10);
    const known = before.files > 0 ? `; ${formatCount(before.files)} were done by earlier runs` : '';
    console.error(`${formatCount(total.files)} files, ${formatBytes(total.bytes)}${known}`);
    if (process.stderr.isTTY) this.#redraw = setInterval(() => this.#draw(), REDRAW_MS);
  }

  get elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }

  add({ bytes }: FoundFile): void {
    this.#done.files++;
    this.#done.bytes += bytes;
    const tenth = Math.floor(this.#share(this.#done) * 10);
    if (this.#redraw !== undefined || tenth <= this.#tenth) return;
    this.#tenth = tenth;
    console.error(this.#line());
  }

  end(): void {
    if (this.#redraw === undefined) return;
    clearInterval(this.#redraw);
    this.#draw();
    process.stderr.write('\n');
  }

  #draw(): void {
    const full = Math.round(this.#share(this.#done) * BAR_CHARS);
    const bar = '█'.repeat(full) + '░'.repeat(BAR_CHARS - full);
    process.stderr.write(`\r${`${bar} ${this.#line()}`.slice(0, process.stderr.columns - 1)}\x1b[K`);
  }

  #line(): string {
    const seconds = this.elapsedMs / 1_000;
    const files = Math.max(0, this.#done.files - this.#before.files);
    const bytes = Math.max(0, this.#done.bytes - this.#before.bytes);
    const left = (seconds * (workOf(this.#total) - workOf(this.#done))) / workOf({ files, bytes });
    const parts = [
      `${String(Math.floor(this.#share(this.#done) * 100)).padStart(3)} %`,
      `${formatCount(this.#done.files)} of ${formatCount(this.#total.files)} files`,
      `${formatCount(files / seconds)} files/s`,
      `${formatBytes(bytes / seconds)}/s`,
    ];
    if (Number.isFinite(left)) parts.push(`${Math.ceil(Math.max(0, left))} s left`);
    return parts.join('  ');
  }

  #share(part: Amount): number {
    return Math.min(1, workOf(part) / Math.max(1, workOf(this.#total)));
  }
}

function workOf({ files, bytes }: Amount): number {
  return bytes + files * FILE_COST_BYTES;
}
