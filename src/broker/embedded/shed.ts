/**
 * Sheds waiting tasks, so that more important ones find room: the lowest level first, in it the newest first,
 * over all lines of the queue. Each is cancelled as by `cancel`, in the commit of the turn, so it stays
 * listed, can be redriven, and whoever waits for it is told. It looks at a bounded number of lines and
 * segments a call, sheds no task that is scheduled, blocked or in hand, and decides nothing: who makes room
 * for whom is the caller's business.
 */
import type { ShedRequest, ShedTask } from '../broker.js';
import type { EmbeddedClaim } from './claim.js';
import type { Core } from './core.js';
import type { Finals } from './finals.js';
import { readU48, u48 } from './keys.js';
import type { LevelQueue, Line } from './line.js';
import { readSegment } from './loading.js';
import { PLACE, type Segment } from './segment.js';

/**
 * In one call so many lines are looked at, the next call goes on behind them; so many of each level are
 * compared, and so many segments read back from the store.
 */
const MAX_LOOKED = 4_096;
const MAX_LINES = 256;
const MAX_READ = 64;

/** What is left of a call's bounds. */
interface Budget {
  reads: number;
}

export class Shedding {
  readonly #core: Core;
  readonly #finals: Finals;
  /** Where the last call ended. */
  #walk: Iterator<Line, undefined> = [][Symbol.iterator]();

  constructor(core: Core, finals: Finals) {
    this.#core = core;
    this.#finals = finals;
  }

  shed({ queue, below, most, least, now, keepMs }: ShedRequest): readonly ShedTask[] {
    const { commits } = this.#core;
    const found: EmbeddedClaim[] = [];
    if (commits.ended !== undefined) return found;
    const budget: Budget = { reads: MAX_READ };
    for (const lines of this.#linesBelow(below, queue)) {
      if (found.length >= most) break;
      for (const segment of this.#newestFirst(lines, budget)) {
        this.#collect(segment, most, found);
        if (found.length >= most) break;
      }
    }
    if (found.length < least) return [];
    const shed = found.map((claim) => this.#end(claim, now, keepMs));
    if (shed.length > 0) commits.changed();
    return shed;
  }

  #collect(segment: Segment, most: number, found: EmbeddedClaim[]): void {
    for (let index = segment.count - 1; index >= 0 && segment.waiting > 0; index--) {
      if (found.length >= most) return;
      if (segment.places[index] !== PLACE.waiting) continue;
      const claim = this.#core.tryRead(() => this.#core.newClaim(segment, index));
      if (claim !== undefined && !isOfFlow(claim)) found.push(claim);
    }
  }

  #end(claim: EmbeddedClaim, now: number, keepMs: ShedRequest['keepMs']): ShedTask {
    const { segment, index, record, id, name, queue, options } = claim;
    const task: ShedTask = { id, name, queue, options };
    const at = { kind: 'place', segment, index, isLoaded: segment.resident } as const;
    this.#finals.cancelNow(record === undefined ? at : { kind: 'record', record }, 'shed', now, keepMs(task));
    return task;
  }

  /** Segments of these lines, which are of one level, the newest of them first. */
  *#newestFirst(lines: readonly LevelQueue[], budget: Budget): Iterable<Segment> {
    const walks: { readonly walk: Iterator<Segment>; head: Segment }[] = [];
    for (const line of lines) {
      const walk = this.#segmentsOf(line, budget)[Symbol.iterator]();
      const { value: head } = walk.next();
      if (head !== undefined) walks.push({ walk, head });
    }
    while (walks.length > 0) {
      const newest = walks.reduce((a, b) => (b.head.number > a.head.number ? b : a));
      yield newest.head;
      const { value: next } = newest.walk.next();
      if (next === undefined) walks.splice(walks.indexOf(newest), 1);
      else newest.head = next;
    }
  }

  /** By level, those of the queue that have tasks, whether they are held or not. */
  #linesBelow(below: number, queue: string | undefined): LevelQueue[][] {
    const levels = Array.from({ length: below }, (): LevelQueue[] => []);
    const seen = new Set<Line>();
    for (let looked = 0, isBegun = false; looked < MAX_LOOKED; looked++) {
      const { value: line, done } = this.#walk.next();
      if (done === true) {
        if (isBegun) break;
        isBegun = true;
        this.#walk = this.#core.lanes[Symbol.iterator]();
        continue;
      }
      if (seen.has(line) || (queue !== undefined && line.queueName !== queue)) continue;
      seen.add(line);
      for (const level of line.queues()) {
        const others = levels[level.level];
        if (others !== undefined && others.length < MAX_LINES && !level.isEmpty) others.push(level);
      }
    }
    return levels;
  }

  /** Segments of one line and level in which tasks wait, the newest first, wherever they are. */
  *#segmentsOf(queue: LevelQueue, budget: Budget): Iterable<Segment> {
    const { segments } = queue;
    // Whoever claims from the front drops what is empty there; nobody but us empties the end.
    while (segments.length > 0 && segments[segments.length - 1]!.waiting === 0) segments.pop();
    if (queue.unflushed > 0) {
      for (const segment of this.#core.commits.unflushed.toReversed()) {
        if (segment.line === queue && !segment.resident && segment.waiting > 0) yield segment;
      }
    }
    let at = segments.length - 1;
    for (const stored of this.#stored(queue, budget)) {
      for (; at >= 0 && segments[at]!.number > stored.number; at--) {
        if (segments[at]!.waiting > 0) yield segments[at]!;
      }
      yield stored;
    }
    for (; at >= 0; at--) if (segments[at]!.waiting > 0) yield segments[at]!;
  }

  /** Those that are only in the store. */
  *#stored(queue: LevelQueue, budget: Budget): Iterable<Segment> {
    const { prefix, spilledFrom } = queue;
    const { tables, stages, segments, flushedUpTo } = this.#core;
    if (spilledFrom === undefined) return;
    const start = prefix + u48(spilledFrom);
    for (let end = prefix + u48(flushedUpTo + 1); start < end && budget.reads > 0; ) {
      const [row] = tables.range('ready', { start, end, limit: 1, reverse: true });
      if (row === undefined) return;
      const number = readU48(row[0], prefix.length);
      const hidden = stages.hiding(number);
      end = hidden === undefined ? row[0] : prefix + u48(hidden.first);
      if (hidden !== undefined || segments.has(number)) continue;
      budget.reads--;
      const segment = readSegment(this.#core, queue, number, row[1], 'look');
      if (segment !== undefined && segment.waiting > 0) yield segment;
    }
  }
}

/** Others wait for it. */
function isOfFlow({ meta }: EmbeddedClaim): boolean {
  return 'flow' in meta;
}
