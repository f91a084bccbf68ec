/**
 * Group commit: everything that happens while one commit is in flight rides on the next, so that a device
 * flush is shared by as many tasks as came meanwhile. Exactly one commit is in flight; two were slower when
 * measured.
 *
 * When it starts depends on who waits (`Pace`):
 *   - an acceptance waits, or a thread is idle: at the end of this turn of the event loop;
 *   - the tasks just accepted were handed to idle threads: held for up to 0.3 ms, so that enqueue and result
 *     share one commit instead of two;
 *   - all threads are busy and only results wait: up to 10 ms after the last one, because a commit takes CPU
 *     time from the threads.
 */
import { type StoppedError, StoreFencedError } from '../../errors.js';
import { isBlobRef } from '../../task/blob-ref.js';
import type { Pace } from '../broker.js';
import { type Core, readyKey } from './core.js';
import { PLAIN_LANE, taskKey, u48 } from './keys.js';
import { packResults } from './rows.js';
import { type FreshResult, PLACE, type Segment } from './segment.js';
import { PlaceSettled } from './tickets.js';
import { Turn } from './turn.js';

const HOLD_MS = 0.3;
const RESULT_GAP_MS = 10;
/** Larger results are read back from the store instead of being kept beside a handle. */
const KEPT_RESULT_BYTES = 4096;

export class CommitCycle {
  readonly #core: Core;
  #turn = new Turn();
  #inFlight: Turn | undefined;
  #isScheduled = false;
  #gap: NodeJS.Timeout | undefined;
  #lastCommitAt = 0;
  #ended: StoreFencedError | StoppedError | undefined;
  #tellFenced: ((error: StoreFencedError) => void) | undefined;
  pace: () => Pace = () => 'idle';

  constructor(core: Core) {
    this.#core = core;
  }

  get turn(): Turn {
    return this.#turn;
  }

  /** Segments whose first commit has not ended, oldest first. */
  get unflushed(): readonly Segment[] {
    return this.#inFlight === undefined
      ? this.#turn.newSegments
      : [...this.#inFlight.newSegments, ...this.#turn.newSegments];
  }

  /** Tasks whose acceptance is not flushed, and their bytes. */
  get pendingAcceptances(): number {
    return this.#turn.acceptances + (this.#inFlight?.acceptances ?? 0);
  }
  get pendingBytes(): number {
    return this.#turn.acceptedBytes + (this.#inFlight?.acceptedBytes ?? 0);
  }

  /** Why nothing can be made durable any more. */
  get ended(): StoreFencedError | StoppedError | undefined {
    return this.#ended;
  }

  onFenced(tell: (error: StoreFencedError) => void): void {
    this.#tellFenced = tell;
    if (this.#ended instanceof StoreFencedError) tell(this.#ended);
  }

  /** For whoever changes something. @throws {StoreFencedError} {@link StoppedError} */
  check(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }

  /** For whoever reads: a fenced store can still be read. @throws {StoppedError} */
  checkOpen(): void {
    if (this.#ended !== undefined && !(this.#ended instanceof StoreFencedError)) throw this.#ended;
  }

  /** Whether the record of this key must not start before what is put now is flushed. */
  isHeld(key: string): boolean {
    return this.#turn.held.has(key) || this.#inFlight?.held.has(key) === true;
  }

  /** Something was put; it will be flushed when the promise resolves. */
  changed(): Promise<void> {
    this.#turn.changes++;
    this.#schedule();
    return this.#turn.flushed;
  }

  accepted(count: number, bytes: number): Promise<void> {
    this.#turn.acceptances += count;
    this.#turn.acceptedBytes += bytes;
    return this.changed();
  }

  /** Resolves when all that has been put by now is flushed. */
  flushed(): Promise<void> {
    if (this.#turn.changes > 0) return this.#turn.flushed;
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return this.#inFlight?.flushed ?? Promise.resolve();
  }

  /** Refuses what comes from now on and flushes what came before. Rejects when that fails. */
  async finish(error: StoppedError): Promise<void> {
    this.check();
    this.#ended = error;
    const inFlight = this.#inFlight?.flushed;
    const { flushed, changes } = this.#turn;
    this.#begin();
    await inFlight;
    this.#begin();
    if (changes > 0) await flushed;
  }

  #schedule(): void {
    if (this.#inFlight !== undefined || this.#isScheduled || this.#turn.changes === 0) return;
    if (this.#ended !== undefined) return;
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
    let deadline = 0;
    // Asked at the end of the turn: only then have the threads got what it accepted.
    const start = (): void => {
      if (this.#core.tables.kind !== 'memory' && this.pace() === 'fresh') {
        const now = performance.now();
        if (deadline === 0) deadline = now + HOLD_MS;
        if (now < deadline) {
          setImmediate(start);
          return;
        }
      }
      this.#isScheduled = false;
      this.#begin();
    };
    setImmediate(start);
  }

  #begin(): void {
    if (this.#inFlight !== undefined || this.#ended instanceof StoreFencedError) return;
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
    this.#core.commit().then(
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
      if (segment.line.open === segment) segment.line.open = undefined;
      if (segment.left === 0) continue;
      this.#core.put(segment);
      segment.isPut = true;
    }
    for (const segment of turn.touched) {
      if (segment.fresh.length > 0) tell.push(this.#putResults(turn, segment));
      if (segment.left === 0) this.#endSegment(segment);
    }
    this.#core.idleLines.forget();
    turn.expiries.put(tables);
    this.#core.putMeta();
    return tell;
  }

  /** Packs the results of consecutive tasks that were settled together into one row each. */
  #putResults(turn: Turn, segment: Segment): () => void {
    const { tables } = this.#core;
    const fresh = segment.fresh;
    segment.fresh = [];
    if (fresh.some((entry, at) => at > 0 && entry.index < fresh[at - 1]!.index)) {
      fresh.sort((a, b) => a.index - b.index);
    }
    for (let from = 0; from < fresh.length; ) {
      const first = fresh[from]!;
      let to = from + 1;
      while (to < fresh.length && isNext(fresh[to]!, first, to - from)) to++;
      const key = taskKey(segment.number, first.index);
      const run = fresh.slice(from, to);
      const home = { prefix: segment.line.prefix, createdAt: segment.createdAt };
      tables.put('done', key, packResults(run, first.settledAt, home));
      turn.expiries.add(first.expiresAt, 'done', key);
      from = to;
    }
    return () => this.#tellOutcomes(segment, fresh);
  }

  #endSegment(segment: Segment): void {
    const { tables } = this.#core;
    this.#core.forget(segment);
    this.#core.idleLines.add(segment.line.line);
    if (!segment.isPut) return;
    segment.isPut = false;
    tables.delete('ready', readyKey(segment));
    if (segment.line.line.lane !== PLAIN_LANE) tables.delete('place', u48(segment.number));
  }

  #tellOutcomes(segment: Segment, fresh: readonly FreshResult[]): void {
    const { waiters, storeNumber } = this.#core;
    const isWatched = waiters.isWatched;
    if (!isWatched && !segment.hasTickets && segment.waiters === undefined) return;
    for (const { index, result, isDeleted } of fresh) {
      const isAwaited = isWatched || segment.waiters?.[index] !== undefined;
      const isSmall = result.length <= KEPT_RESULT_BYTES && !isBlobRef(result);
      const isKept = segment.hasTickets && !isDeleted && isSmall;
      if (!isKept) segment.places[index] = PLACE.gone;
      if (!isAwaited && !isKept) continue;
      const settled = new PlaceSettled(storeNumber, segment, index, result);
      if (isKept) segment.keepOutcome(index, settled);
      waiters.tellPlace(segment, index, settled);
      if (isWatched) waiters.tellKey(taskKey(segment.number, index), settled);
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
      if (!segment.resident) core.evict(segment);
      if (segment.resident && segment.heldFrom >= segment.count) continue;
      core.lines.wake(segment.line);
      mayClaim = true;
    }
    for (const tell of finish) tell();
    for (const { waiting, settled } of turn.settled) core.waiters.tellAll(waiting, settled);
    turn.resolve();
    if (mayClaim) core.wake();
    this.#schedule();
  }

  #fail(cause: unknown): void {
    const why = cause instanceof Error ? cause.message : String(cause);
    const isFence = cause instanceof StoreFencedError;
    const error = isFence ? cause : new StoreFencedError(`a commit failed (${why})`, { cause });
    const inFlight = this.#inFlight;
    this.#inFlight = undefined;
    this.#ended = error;
    inFlight?.reject(error);
    this.#turn.reject(error);
    for (const { waiting } of [...(inFlight?.settled ?? []), ...this.#turn.settled])
      this.#core.waiters.tellAll(waiting, error);
    this.#core.flows.end(error);
    this.#core.waiters.end(error, [...this.#core.segments.values(), ...(inFlight?.touched ?? [])]);
    this.#tellFenced?.(error);
  }
}

/** Whether a result belongs into the same row as the first one, `distance` places before. */
function isNext(entry: FreshResult, first: FreshResult, distance: number): boolean {
  const { index, expiresAt, settledAt } = entry;
  return index === first.index + distance && expiresAt === first.expiresAt && settledAt === first.settledAt;
}
