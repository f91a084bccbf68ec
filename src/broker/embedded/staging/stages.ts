/**
 * The batches that are being staged, from their numbers to their end: sets numbers apart for each, makes it
 * ready, or takes it away again. What takes many rows is done bit by bit in commits of a bounded size, with
 * all other traffic between them, and gone on with by the next owner: deleting what was abandoned, and
 * putting the delayed tasks of an accepted batch where they are promoted from.
 */
import { setImmediate } from 'node:timers/promises';
import { QueueFullError } from '../../../errors.js';
import type { Core } from '../core.js';
import { readU48, taskKey, u48 } from '../keys.js';
import type { LevelQueue } from '../line.js';
import { readSegment } from '../loading.js';
import { putGap } from '../numbering.js';
import { EMPTY, openRecord } from '../record.js';
import { blobsOf } from '../segment.js';
import type { TableName } from '../tables.js';
import { PARKED, StageRange } from './ranges.js';

/**
 * Numbers set apart for one batch. Each of its segments has one task at least, so they cannot run out. At
 * most one such range is unflushed at a time: see `numbering.ts`.
 */
const RANGE_NUMBERS = 2 ** 24;
/** Batches staged at once; each may hold some megabytes that are not flushed. */
const MAX_STAGES = 16;
/** Rows of segments deleted in one commit, and smaller rows changed in one. */
const SEGMENT_ROWS_PER_SLICE = 64;
const ROWS_PER_SLICE = 1_000;
/** Lines looked at before others have a turn of the event loop; there may be 100,000. */
const SPANS_PER_TURN = 256;

interface Span {
  readonly table: TableName;
  /** Of segments. */
  readonly queue?: LevelQueue;
  readonly start: string;
  readonly end: string;
  readonly limit: number;
}

/** What a batch counts in one queue. */
export interface QueueShare {
  ready: number;
  unhandled: number;
  scheduled: number;
}

export class Stages {
  readonly #core: Core;
  #open = 0;
  #reserving: Promise<unknown> = Promise.resolve();
  readonly #linking = new Set<Promise<void>>();

  constructor(core: Core) {
    this.#core = core;
  }

  /** Goes on where the last owner ended: what was not accepted goes away. */
  recover(): void {
    for (const range of this.#core.stages.all) {
      if (range.state === 'linking') this.#linkBehind(range);
      else this.abandon(range).catch(() => {});
    }
  }

  /** @throws {QueueFullError} */
  begin(): void {
    this.#core.commits.check();
    if (this.#open >= MAX_STAGES) {
      throw new QueueFullError('Batches that are being staged', this.#open + 1, MAX_STAGES);
    }
    this.#open++;
  }

  /** A batch is accepted or abandoned. */
  end(): void {
    this.#open--;
  }

  /** Sets numbers apart, flushed, one batch after another. @throws (rejects) {@link StoreFencedError} */
  reserve(): Promise<StageRange> {
    const reserved = this.#reserving.then(async () => {
      const { commits, stages } = this.#core;
      commits.check();
      const range = new StageRange(this.#core.nextSegment, this.#core.nextSegment + RANGE_NUMBERS);
      this.#core.nextSegment = range.end;
      stages.add(range);
      await commits.changed();
      return range;
    });
    this.#reserving = reserved.catch(() => {});
    return reserved;
  }

  /**
   * Makes a batch ready at once: one row, and the counters.
   * @param used    The first number of the range that no segment has.
   * @param queues  Level queues that it has segments in, with the number of the first.
   */
  async accept(
    range: StageRange,
    used: number,
    shares: ReadonlyMap<number, QueueShare>,
    queues: ReadonlyMap<LevelQueue, number>,
  ): Promise<void> {
    const { tables, commits, stages, counters, lines } = this.#core;
    this.#unblock(range);
    let delayed = 0;
    for (const [queue, { ready, unhandled, scheduled }] of shares) {
      counters.add(queue, 'ready', ready);
      counters.add(queue, 'unhandled', unhandled);
      counters.add(queue, 'scheduled', scheduled);
      delayed += scheduled;
    }
    const accepted = new StageRange(range.first, range.end, 'linking');
    if (delayed > 0) stages.put(accepted);
    else stages.delete(range);
    if (used < range.end) putGap(tables, used, range.end);
    await commits.accepted(1, 0);
    if (delayed > 0) {
      range.state = 'linking';
      this.#linkBehind(range);
    } else stages.forget(range);
    for (const [queue, first] of queues) {
      lines.spill(queue, Math.min(first, queue.spilledFrom ?? first));
      queue.line.live--;
      lines.wake(queue);
    }
    this.#core.wake();
  }

  /** Resolves when nothing of the batch is left, or the store has ended. */
  async abandon(range: StageRange): Promise<void> {
    const { tables, commits, stages } = this.#core;
    if (commits.ended !== undefined) return;
    range.state = 'abandoned';
    this.#unblock(range);
    stages.put(range);
    try {
      await commits.changed();
      let spans = 0;
      for (const span of this.#spans(range)) {
        await this.#delete(span);
        if (++spans % SPANS_PER_TURN === 0) await setImmediate();
      }
      commits.check();
      putGap(tables, range.first, range.end);
      stages.delete(range);
      await commits.changed();
      stages.forget(range);
    } catch (error) {
      // The next owner goes on.
      if (commits.ended === undefined) throw error;
    }
  }

  /** What delayed tasks wait for before they can be promoted. */
  linked(): Promise<unknown> | undefined {
    return this.#linking.size === 0 ? undefined : Promise.all(this.#linking);
  }

  #unblock({ blocked }: StageRange): void {
    for (const [queue, count] of blocked) this.#core.counters.add(queue, 'blocked', -count);
    blocked.clear();
  }

  /** Where rows of a batch can be. */
  *#spans({ first, end }: StageRange): Iterable<Span> {
    for (const line of [...this.#core.lanes]) {
      for (const queue of line.queues()) {
        const [start, stop] = [queue.prefix + u48(first), queue.prefix + u48(end)];
        yield { table: 'ready', queue, start, end: stop, limit: SEGMENT_ROWS_PER_SLICE };
      }
    }
    const [start, stop] = [taskKey(first, 0), taskKey(end, 0)];
    yield { table: 'later', start: PARKED + start, end: PARKED + stop, limit: ROWS_PER_SLICE };
    yield { table: 'task', start, end: stop, limit: ROWS_PER_SLICE };
    yield { table: 'place', start: u48(first), end: u48(end), limit: ROWS_PER_SLICE };
  }

  async #delete({ table, queue, ...range }: Span): Promise<void> {
    const { tables, commits } = this.#core;
    for (;;) {
      commits.check();
      const rows = tables.range(table, range);
      if (rows.length === 0) return;
      for (const [key, row] of rows) {
        if (queue !== undefined) this.#loseSegment(queue, key, row);
        else if (table === 'task') this.#loseRecord(row);
        tables.delete(table, key);
      }
      if (queue !== undefined) this.#core.idleLines.add(queue.line);
      await commits.changed();
    }
  }

  #loseSegment(queue: LevelQueue, key: string, row: Uint8Array): void {
    const { blobs } = this.#core;
    if (blobs === undefined) return;
    const segment = readSegment(this.#core, queue, readU48(key, queue.prefix.length), row, 'look');
    if (segment !== undefined) for (const body of blobsOf(segment)) blobs.lose(body);
  }

  #loseRecord(row: Uint8Array): void {
    const { blobs, where } = this.#core;
    if (blobs === undefined) return;
    blobs.lose(this.#core.tryRead(() => openRecord(row, where))?.body);
  }

  #linkBehind(range: StageRange): void {
    const linked = this.#link(range)
      // The next owner goes on.
      .catch(() => {})
      .finally(() => this.#linking.delete(linked));
    this.#linking.add(linked);
  }

  async #link(range: StageRange): Promise<void> {
    const { tables, commits, stages } = this.#core;
    const end = PARKED + taskKey(range.end, 0);
    for (let start = PARKED + taskKey(range.first, 0); ; ) {
      commits.check();
      const rows = tables.range('later', { start, end, limit: ROWS_PER_SLICE });
      if (rows.length === 0) break;
      for (const [key, value] of rows) {
        // One that is endless stays where it is.
        if (value.length === 0) continue;
        const runAt = u48(readU48(Buffer.from(value).toString('latin1'), 0));
        tables.delete('later', key);
        tables.put('later', runAt + key.slice(PARKED.length), EMPTY);
      }
      start = `${rows[rows.length - 1]![0]}\0`;
      await commits.changed();
    }
    stages.delete(range);
    stages.forget(range);
    await commits.changed();
  }
}
