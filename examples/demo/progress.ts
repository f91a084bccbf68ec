/** Says on stderr how far it is: a bar on a terminal, and anywhere else a line for every 10 %. */
import { count, megabytes } from './table.js';
import type { Amount } from './walk.js';

const REDRAW_MS = 100;
const BAR_CHARS = 20;
/** A file costs about as much time as so many bytes, however small it is. */
const FILE_COST_BYTES = 8_192;

export class Progress implements Disposable {
  readonly #total: Amount;
  readonly #before: Amount;
  readonly #done = { files: 0, bytes: 0 };
  readonly #startedAt = performance.now();
  readonly #redraw: NodeJS.Timeout | undefined;
  #tenth: number;

  /** @param before  What earlier runs did; it counts as done, but not as speed. */
  constructor(total: Amount, before: Amount) {
    this.#total = total;
    this.#before = before;
    this.#tenth = Math.floor(this.#share(before) * 10);
    const known = before.files > 0 ? `; earlier runs did ${count(before.files)}` : '';
    console.error(`${count(total.files)} files, ${megabytes(total.bytes)}${known}`);
    if (process.stderr.isTTY) this.#redraw = setInterval(() => this.#draw(), REDRAW_MS);
  }

  get elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }

  /** One more file is settled. */
  add(bytes: number): void {
    this.#done.files++;
    this.#done.bytes += bytes;
    const tenth = Math.floor(this.#share(this.#done) * 10);
    if (tenth > this.#tenth && this.#redraw === undefined) console.error(this.#line());
    this.#tenth = Math.max(tenth, this.#tenth);
  }

  [Symbol.dispose](): void {
    if (this.#redraw === undefined) return;
    clearInterval(this.#redraw);
    this.#draw();
    process.stderr.write('\n');
  }

  #draw(): void {
    const bar = '█'.repeat(this.#share(this.#done) * BAR_CHARS).padEnd(BAR_CHARS, '░');
    process.stderr.write(`\r${`${bar} ${this.#line()}`.slice(0, (process.stderr.columns || 80) - 1)}\x1b[K`);
  }

  #line(): string {
    const seconds = this.elapsedMs / 1_000;
    const files = Math.max(0, this.#done.files - this.#before.files);
    const bytes = Math.max(0, this.#done.bytes - this.#before.bytes);
    const left = (seconds * (costOf(this.#total) - costOf(this.#done))) / costOf({ files, bytes });
    const parts = [
      `${Math.floor(this.#share(this.#done) * 100)} %`.padStart(5),
      `${count(this.#done.files)} files`,
      `${count(files / seconds)} files/s`,
      `${megabytes(bytes / seconds)}/s`,
      Number.isFinite(left) ? `${Math.ceil(Math.max(0, left))} s left` : '',
    ];
    return parts.join('  ');
  }

  #share(part: Amount): number {
    return Math.min(1, costOf(part) / Math.max(1, costOf(this.#total)));
  }
}

function costOf({ files, bytes }: Amount): number {
  return bytes + files * FILE_COST_BYTES;
}
