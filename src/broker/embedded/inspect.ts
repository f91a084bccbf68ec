/**
 * The Inspect port: counts, and pages in the order of the index that serves the filter. A page looks at a
 * bounded number of tasks, whatever they are, so that no list holds up the host; it goes on at the very place
 * where the last one ended, also inside a row of many tasks.
 */
import { InvalidArgumentError, ResultExpiredError, UnknownTaskError } from '../../errors.js';
import type { TaskState, TaskView } from '../../task/task.js';
import type { Counts, Depth, Inspect, Page, QueueCounts, TaskFilter } from '../inspect.js';
import type { EmbeddedClaim } from './claim.js';
import { type Core, FINAL_CODE } from './core.js';
import type { Finals } from './finals.js';
import { readU48, u16, u48 } from './keys.js';
import { readSegment } from './loading.js';
import { ROW, readHeader, unpackResults } from './rows.js';
import { PLACE, type Segment } from './segment.js';
import { afterPrefix, type Row, type TableName } from './tables.js';
import { Views } from './views.js';

const MAX_LISTED = 1_000;
/** Tasks looked at for one page. */
const LOOKED_PER_PAGE = 2_000;
const ROWS_PER_READ = 16;
/** A segment takes as long to read as so many tasks to look at; with many lanes each may hold one. */
const TASKS_PER_SEGMENT = 8;

/** Where tasks are listed from, in this order when no state is asked for; the index is part of a cursor. */
const SOURCES = ['ready', 'later', 'completed', 'done', 'dead', 'cancelled', 'running', 'blocked'] as const;
type Source = (typeof SOURCES)[number];
const SOURCES_OF: Readonly<Record<TaskState, readonly Source[]>> = {
  ready: ['ready'],
  running: ['running'],
  scheduled: ['later'],
  blocked: ['blocked'],
  completed: ['completed', 'done'],
  dead: ['dead'],
  cancelled: ['cancelled'],
};
/** `ready` shows what is running, too. */
const ALL = SOURCES.filter((source) => source !== 'running');

/** One row of a source: up to 256 tasks. */
interface Cell {
  readonly key: string;
  readonly count: number;
  view(nth: number): TaskView | undefined;
}
interface Spot {
  readonly key: string;
  readonly nth: number;
}

export class EmbeddedInspect implements Inspect {
  readonly #core: Core;
  readonly #finals: Finals;
  readonly #views: Views;
  readonly #unstarted: (claim: EmbeddedClaim) => boolean;

  /** @param unstarted  Whether a claimed task has not started yet: it still counts as ready. */
  constructor(core: Core, finals: Finals, unstarted: (claim: EmbeddedClaim) => boolean) {
    this.#core = core;
    this.#finals = finals;
    this.#views = new Views(core, unstarted);
    this.#unstarted = unstarted;
  }

  async get(id: string, depth: Depth = 'whole'): Promise<TaskView | undefined> {
    this.#core.commits.checkOpen();
    try {
      const found = this.#finals.locate(id);
      if (found.kind === 'record' && this.#core.flows.isHidden(found.record)) return undefined;
      const view = this.#views.of(found, id);
      const shown = depth === 'brief' ? withoutBytes(view) : await this.#views.whole(view, 'throw');
      const after = found.kind === 'record' ? this.#core.flows.firstParentsOf(found.record) : undefined;
      return after === undefined || after.length === 0 ? shown : { ...shown, after };
    } catch (error) {
      if (error instanceof UnknownTaskError || error instanceof ResultExpiredError) return undefined;
      throw error;
    }
  }

  counts(): Counts {
    const { counters, queueNames, segments } = this.#core;
    const running = new Map<number, number>();
    for (const segment of segments.values()) {
      const { queue } = segment.line.line;
      const started = this.#startedIn(segment);
      if (started > 0) running.set(queue, (running.get(queue) ?? 0) + started);
    }
    const counts = new Map<string, QueueCounts>();
    queueNames.all.forEach((name, queue) => {
      const of = (state: Parameters<typeof counters.get>[1]): number => counters.get(queue, state);
      counts.set(name, {
        scheduled: of('scheduled'),
        retrying: of('retrying'),
        ready: of('ready') - (running.get(queue) ?? 0),
        unhandled: of('unhandled'),
        blocked: of('blocked'),
        running: running.get(queue) ?? 0,
        completed: of('completed'),
        dead: of('dead'),
        cancelled: of('cancelled'),
      });
    });
    return counts;
  }

  async list(filter: TaskFilter, limit: number, after?: string, depth: Depth = 'whole'): Promise<Page> {
    const { tasks, ...rest } = this.#page(filter, limit, after);
    if (depth === 'brief') return { tasks: tasks.map(withoutBytes), ...rest };
    return { tasks: await Promise.all(tasks.map((view) => this.#views.whole(view, 'omit'))), ...rest };
  }

  #page(filter: TaskFilter, limit: number, after: string | undefined): Page {
    this.#core.commits.checkOpen();
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LISTED) {
      throw new InvalidArgumentError('limit', `an integer from 1 to ${MAX_LISTED}`, limit);
    }
    const sources = filter.state === undefined ? ALL : SOURCES_OF[filter.state];
    const cursor = after === undefined ? undefined : readCursor(after);
    const tasks: TaskView[] = [];
    let looked = 0;
    let at = cursor === undefined ? 0 : sources.indexOf(cursor.source);
    for (let spot = cursor?.spot ?? START; at >= 0 && at < sources.length; at++, spot = START) {
      const source = sources[at]!;
      for (const cell of this.#cells(source, filter, spot.key)) {
        if (source === 'ready') looked += TASKS_PER_SEGMENT;
        for (let nth = cell.key === spot.key ? spot.nth : 0; nth < cell.count; nth++) {
          if (tasks.length >= limit || looked >= LOOKED_PER_PAGE)
            return { tasks, after: writeCursor(source, cell.key, nth) };
          looked++;
          const view = this.#core.tryRead(() => cell.view(nth));
          if (view !== undefined && matches(view, filter)) tasks.push(view);
        }
      }
    }
    return { tasks };
  }

  #startedIn(segment: Segment): number {
    if (segment.left === segment.waiting) return 0;
    let started = 0;
    for (const claim of segment.claims) if (claim !== undefined && !this.#unstarted(claim)) started++;
    return started;
  }

  /** The rows of a source from a key on. */
  #cells(source: Source, filter: TaskFilter, from: string): Iterable<Cell> {
    if (source === 'running') return this.#running(from);
    const queue = filter.queue === undefined ? '' : this.#queuePrefix(filter.queue);
    if (queue === undefined) return [];
    switch (source) {
      case 'ready':
        return this.#rows('ready', queue, from, (row) => this.#fromSegment(row));
      case 'later':
        return this.#rows('later', '', from, ([key]) => this.#fromRecord(key, key.slice(6)));
      case 'blocked':
        return this.#rows('node', '', from, ([key]) => this.#fromRecord(key, key));
      case 'done':
        return this.#rows('done', '', from, (row) => this.#fromDone(row));
      default:
        return this.#rows('final', FINAL_CODE[source] + queue, from, ([key]) =>
          this.#fromRecord(key, key.slice(9)),
        );
    }
  }

  *#rows(
    table: TableName,
    prefix: string,
    from: string,
    read: (row: Row) => Cell | undefined,
  ): Iterable<Cell> {
    const end = afterPrefix(prefix);
    for (let start = from > prefix ? from : prefix; ; ) {
      const rows = this.#core.tables.range(table, { start, end, limit: ROWS_PER_READ });
      let past: string | undefined;
      for (const row of rows) {
        past = this.#core.stages.pastHidden(table, row[0]);
        if (past !== undefined) break;
        // What is hidden or damaged was looked at, too: there may be millions of it.
        yield this.#core.tryRead(() => read(row)) ?? { ...NOTHING, key: row[0] };
      }
      if (past === undefined && rows.length < ROWS_PER_READ) return;
      start = past ?? `${rows[rows.length - 1]![0]}\0`;
    }
  }

  *#running(from: string): Iterable<Cell> {
    const segments = [...this.#core.segments.values()].filter((segment) => this.#startedIn(segment) > 0);
    for (const segment of segments.sort((a, b) => a.number - b.number)) {
      const key = u48(segment.number);
      if (key >= from) yield this.#cellOf(key, segment);
    }
  }

  #fromSegment([key, row]: Row): Cell | undefined {
    const number = readU48(key, 11);
    const stored = (): Segment | undefined =>
      readSegment(this.#core, this.#core.lanes.levelQueue(key.slice(0, 11)), number, row, 'look');
    const segment = this.#core.segments.get(number) ?? stored();
    return segment === undefined ? undefined : this.#cellOf(key, segment);
  }

  #cellOf(key: string, segment: Segment): Cell {
    const view = (nth: number): TaskView | undefined =>
      segment.places[nth]! >= PLACE.settled ? undefined : this.#views.ofPlace(segment, nth);
    return { key, count: segment.count, view };
  }

  #fromRecord(key: string, recordKey: string): Cell | undefined {
    const record = this.#core.getRecord(recordKey);
    if (record === undefined || record.isDeleted || this.#core.flows.isHidden(record)) return undefined;
    return { key, count: 1, view: () => this.#views.ofRecord(record) };
  }

  #fromDone([key, row]: Row): Cell {
    const header = readHeader(row, this.#core.where, ROW.results);
    const results = unpackResults(header);
    const view = (nth: number): TaskView | undefined => {
      const result = results[nth]!;
      return result.isDeleted ? undefined : this.#views.ofResult(key, nth, header, result);
    };
    return { key, count: header.count, view };
  }

  #queuePrefix(name: string): string | undefined {
    const queue = this.#core.queueNames.find(name);
    return queue === undefined ? undefined : u16(queue);
  }
}

const NOTHING = { count: 1, view: () => undefined } as const;
const START: Spot = { key: '', nth: 0 };

function withoutBytes({ body: _body, result: _result, ...rest }: TaskView): TaskView {
  return rest;
}

function matches(task: TaskView, filter: TaskFilter): boolean {
  return (
    (filter.state === undefined || task.state === filter.state) &&
    (filter.queue === undefined || task.queue === filter.queue) &&
    (filter.name === undefined || task.name === filter.name)
  );
}

function writeCursor(source: Source, key: string, nth: number): string {
  return `${SOURCES.indexOf(source)}.${nth}.${Buffer.from(key, 'latin1').toString('hex')}`;
}

/** @throws {InvalidArgumentError} */
function readCursor(after: string): { readonly source: Source; readonly spot: Spot } {
  const [, at, nth, key] = /^(\d)\.(\d{1,5})\.([0-9a-f]*)$/.exec(after) ?? [];
  const source = SOURCES[Number(at)];
  if (source === undefined || key === undefined)
    throw new InvalidArgumentError('after', 'the `after` of a page', after);
  return { source, spot: { key: Buffer.from(key, 'hex').toString('latin1'), nth: Number(nth) } };
}
