/**
 * Group commit: everything that happens while one commit is in flight rides on the next, so that a device flush is
 * shared by as many tasks as came meanwhile. Exactly one commit is in flight; two were slower when measured.
 *
 * When it starts depends on who waits (`Pace`):
 *   - an acceptance waits, or a thread is idle: at the end of this turn of the event loop;
 *   - the tasks just accepted were handed to idle threads: held for up to 0.3 ms, so that enqueue and result share
 *     one commit instead of two;
 *   - all threads are busy and only results wait: up to 10 ms after the last one, because a commit takes CPU time
 *     from the threads.
 */
import { StoreFencedError } from '../../errors.js';
import { formatId, ID_BYTES } from '../../task/id.js';
import type { Pace, Settled } from '../broker.js';
import { writePlaceId } from './claim.js';
import type { Core } from './core.js';
import { readyKey } from './core.js';
import { Expiries } from './expiry.js';
import { PLAIN_LANE, taskKey, u48 } from './keys.js';
import { packResults } from './rows.js';
import { PLACE, type Segment } from './segment.js';

const HOLD_MS = 0.3;
const RESULT_GAP_MS = 10;
/** Larger results are read back from the store instead of being kept beside a handle. */
const KEPT_RESULT_BYTES = 4096;

/** What one commit will make durable. */
class Turn {
  acceptances = 0;
  changes = 0;
  readonly newSegments: Segment[] = [];
  readonly touched = new Set<Segment>();
  readonly settled: { readonly key: string; readonly settled: Settled }[] = [];
  readonly expiries = new Expiries();
  readonly flushed: Promise<void>;
  resolve!: () => void;
  reject!: (error: Error) => void;

  constructor() {
    this.flushed = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.flushed.catch(() => {});
  }
}

export class CommitCycle {
  readonly #core: Core;
  #turn = new Turn();
  #inFlight: Turn | undefined;
  #isScheduled = false;
  #gap: NodeJS.Timeout | undefined;
  #lastCommitAt = 0;
  #fence: StoreFencedError | undefined;
  #tellFenced: (error: StoreFencedError) => void = () => {};
  pace: () => Pace = () => 'idle';

  constructor(core: Core) {
    this.#core = core;
  }

  get turn(): Turn {
    return this.#turn;
  }

  /** Tasks whose acceptance is not flushed. */
  get pendingAcceptances(): number {
    return this.#turn.acceptances + (this.#inFlight?.acceptances ?? 0);
  }

  get fence(): StoreFencedError | undefined {
    return this.#fence;
  }

  onFenced(tell: (error: StoreFencedError) => void): void {
    this.#tellFenced = tell;
  }

  /** @throws {StoreFencedError} when nothing can be made durable any more. */
  check(): void {
    if (this.#fence !== undefined) throw this.#fence;
  }

  /** Something was put; it will be flushed when the promise resolves. */
  changed(): Promise<void> {
    this.#turn.changes++;
    this.#schedule();
    return this.#turn.flushed;
  }

  accepted(count: number): Promise<void> {
    this.#turn.acceptances += count;
    return this.changed();
  }

  /** Resolves when all that has been put by now is flushed. */
  flushed(): Promise<void> {
    if (this.#fence !== undefined) return Promise.reject(this.#fence);
    if (this.#turn.changes > 0) return this.#turn.flushed;
    return this.#inFlight?.flushed ?? Promise.resolve();
  }

  #schedule(): void {
    if (this.#inFlight !== undefined || this.#isScheduled || this.#turn.changes === 0) return;
    const pace = this.#core.tables.kind === 'memory' ? 'idle' : this.pace();
    if (this.#turn.acceptances === 0 && pace === 'busy') {
      this.#gap ??= setTimeout(
        () => {
          this.#gap = undefined;
          this.#begin();
        },
        Math.max(1, this.#lastCommitAt + RESULT_GAP_MS - performance.now()),
      );
      return;
    }
    if (this.#gap !== undefined) clearTimeout(this.#gap);
    this.#gap = undefined;
    this.#isScheduled = true;
    const deadline = pace === 'fresh' ? performance.now() + HOLD_MS : 0;
    const start = (): void => {
      if (deadline > 0 && this.pace() === 'fresh' && performance.now() < deadline) {
        setImmediate(start);
        return;
      }
      this.#isScheduled = false;
      this.#begin();
    };
    setImmediate(start);
  }

  #begin(): void {
    if (this.#inFlight !== undefined || this.#fence !== undefined) return;
    const turn = this.#turn;
    if (turn.changes === 0) return;
    this.#turn = new Turn();
    this.#inFlight = turn;
    const upTo = this.#core.nextSegment - 1;
    let finish: (() => void)[];
    try {
      finish = this.#prepare(turn);
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#core.tables.commit().then(
      () => this.#done(turn, finish, upTo),
      (error) => this.#fail(error),
    );
  }

  /** Puts the rows of this turn. @returns what to tell once they are flushed. */
  #prepare(turn: Turn): (() => void)[] {
    const { tables } = this.#core;
    const tell: (() => void)[] = [];
    for (const segment of turn.newSegments) {
      segment.sealed = true;
      if (segment.left === 0) continue;
      tables.put('ready', readyKey(segment), segment.seal());
      segment.isPut = true;
      if (segment.line.line.lane !== PLAIN_LANE) {
        tables.put('place', u48(segment.number), Buffer.from(segment.line.line.lane, 'latin1'));
      }
    }
    for (const segment of turn.touched) {
      if (segment.fresh.length > 0) tell.push(this.#putResults(turn, segment));
      if (segment.left === 0) this.#endSegment(segment);
    }
    turn.expiries.put(tables);
    this.#core.putMeta();
    return tell;
  }

  /** Packs the results of consecutive tasks that are kept equally long into one row each. */
  #putResults(turn: Turn, segment: Segment): () => void {
    const { tables } = this.#core;
    const fresh = segment.fresh;
    segment.fresh = [];
    if (fresh.some((entry, at) => at > 0 && entry.index < fresh[at - 1]!.index)) {
      fresh.sort((a, b) => a.index - b.index);
    }
    for (let from = 0; from < fresh.length; ) {
      const { index, expiresAt, settledAt } = fresh[from]!;
      let to = from + 1;
      while (to < fresh.length && fresh[to]!.index === index + to - from && fresh[to]!.expiresAt === expiresAt) to++;
      const key = taskKey(segment.number, index);
      const run = fresh.slice(from, to).map((entry) => entry.result);
      tables.put('done', key, packResults(run, settledAt, { prefix: segment.line.prefix, createdAt: segment.createdAt }));
      turn.expiries.add(expiresAt, 'done', key);
      from = to;
    }
    return () => this.#tellOutcomes(segment, fresh);
  }

  #endSegment(segment: Segment): void {
    const { tables, segments } = this.#core;
    segments.delete(segment.number);
    if (!segment.isPut) return;
    segment.isPut = false;
    tables.delete('ready', readyKey(segment));
    if (segment.line.line.lane !== PLAIN_LANE) tables.delete('place', u48(segment.number));
  }

  #tellOutcomes(segment: Segment, fresh: Segment['fresh']): void {
    const bytes = new Uint8Array(ID_BYTES);
    for (const { index, result } of fresh) {
      const waiting = segment.waiters?.[index];
      const watched = this.#core.watchers.size > 0;
      if (waiting === undefined && !watched && result.result.length > KEPT_RESULT_BYTES) {
        segment.places[index] = PLACE.gone;
        continue;
      }
      const settled: Settled = {
        get id() {
          writePlaceId(bytes, 0, storeNumber, segment, index);
          return formatId(bytes);
        },
        state: 'completed',
        result: result.result,
      };
      const { storeNumber } = this.#core;
      segment.outcomes ??= [];
      segment.outcomes[index] = settled;
      if (waiting !== undefined) {
        segment.waiters![index] = undefined;
        for (const resolve of waiting) resolve(settled);
      }
      if (watched) this.#core.announce(taskKey(segment.number, index), settled);
    }
  }

  #done(turn: Turn, finish: readonly (() => void)[], upTo: number): void {
    const core = this.#core;
    core.flushedUpTo = upTo;
    this.#lastCommitAt = performance.now();
    this.#inFlight = undefined;
    let mayClaim = false;
    for (const segment of turn.newSegments) {
      segment.isFlushed = true;
      if (segment.afterCommit) mayClaim = true;
      if (segment.resident) continue;
      segment.line.unflushed--;
      for (let index = 0; index < (segment.waiters?.length ?? 0); index++) core.moveWaiters(segment, index);
      core.segments.delete(segment.number);
      mayClaim = true;
    }
    for (const tell of finish) tell();
    for (const { key, settled } of turn.settled) core.announce(key, settled);
    turn.resolve();
    if (mayClaim) core.wake();
    this.#schedule();
  }

  #fail(cause: unknown): void {
    const why = cause instanceof Error ? cause.message : String(cause);
    const error = new StoreFencedError(`a commit failed (${why})`, { cause });
    this.#fence = error;
    this.#inFlight?.reject(error);
    this.#inFlight = undefined;
    this.#turn.reject(error);
    this.#core.abandonWaiters(error);
    this.#tellFenced(error);
  }
}
