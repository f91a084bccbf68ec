/** The Inspect port: views of tasks wherever they are, pages in the order of the index that serves the filter. */
import { ResultExpiredError, UnknownTaskError } from '../../errors.js';
import { formatId, ID_BYTES } from '../../task/id.js';
import type { TaskState, TaskView } from '../../task/task.js';
import type { Inspect, Page, QueueCounts, TaskFilter } from '../inspect.js';
import { type EmbeddedClaim, FLAG_LANE, writeId } from './claim.js';
import { type Core, FINAL_CODE } from './core.js';
import type { Finals, Location } from './finals.js';
import { PLAIN_LANE, readU16, readU48, taskKey, u16 } from './keys.js';
import { readSegment } from './loading.js';
import { decodeNote, type TaskRecord } from './record.js';
import { homeOf, ROW, readHeader, type UnpackedResult, unpackResult } from './rows.js';
import { PLACE, type Segment } from './segment.js';
import { afterPrefix, type Row } from './tables.js';

/** Rows looked at for one page, whatever they hold. */
const ROWS_PER_PAGE = 2_000;

export class EmbeddedInspect implements Inspect {
  readonly #core: Core;
  readonly #finals: Finals;
  readonly #unstarted: (claim: EmbeddedClaim) => boolean;

  /** @param unstarted  Whether a claimed task has not started yet: it still counts as ready. */
  constructor(core: Core, finals: Finals, unstarted: (claim: EmbeddedClaim) => boolean) {
    this.#core = core;
    this.#finals = finals;
    this.#unstarted = unstarted;
  }

  async get(id: string): Promise<TaskView | undefined> {
    try {
      return this.#viewOf(this.#finals.locate(id), id);
    } catch (error) {
      if (error instanceof UnknownTaskError || error instanceof ResultExpiredError) return undefined;
      throw error;
    }
  }

  counts(): ReadonlyMap<string, QueueCounts> {
    const { counters, queueNames, segments } = this.#core;
    const running = new Map<string, number>();
    for (const segment of segments.values()) {
      for (const claim of segment.claims) {
        if (claim !== undefined && !this.#unstarted(claim)) running.set(claim.queue, (running.get(claim.queue) ?? 0) + 1);
      }
    }
    const counts = new Map<string, QueueCounts>();
    queueNames.all.forEach((name, queue) => {
      const of = (state: Parameters<typeof counters.get>[1]): number => Math.max(0, counters.get(queue, state));
      counts.set(name, {
        scheduled: of('scheduled'),
        retrying: of('retrying'),
        ready: Math.max(0, of('ready') - (running.get(name) ?? 0)),
        unhandled: of('unhandled'),
        blocked: of('blocked'),
        running: running.get(name) ?? 0,
        completed: of('completed'),
        dead: of('dead'),
        cancelled: of('cancelled'),
      });
    });
    return counts;
  }

  async list(filter: TaskFilter, limit: number, after?: string): Promise<Page> {
    const states: readonly TaskState[] =
      filter.state === undefined ? ['ready', 'scheduled', 'completed', 'dead', 'cancelled'] : [filter.state];
    let [at, cursor] = after === undefined ? [0, ''] : splitCursor(after, states.length);
    const tasks: TaskView[] = [];
    while (at < states.length) {
      const page = this.#page(states[at]!, filter, limit - tasks.length, cursor);
      tasks.push(...page.tasks);
      if (page.cursor !== undefined) return { tasks, after: `${at}.${toHex(page.cursor)}` };
      at++;
      cursor = '';
      if (tasks.length >= limit) break;
    }
    return at < states.length ? { tasks, after: `${at}.` } : { tasks };
  }

  #page(state: TaskState, filter: TaskFilter, limit: number, cursor: string): { tasks: TaskView[]; cursor?: string } {
    switch (state) {
      case 'ready':
      case 'running':
        return this.#walk('ready', '', '\u0100', cursor, limit, filter, (row) => this.#fromSegment(row, state));
      case 'scheduled':
        return this.#walk('later', '', '\u0100', cursor, limit, filter, ([key]) => this.#fromRecord(key.slice(6)));
      case 'completed':
        return this.#completed(filter, limit, cursor);
      case 'dead':
      case 'cancelled':
        return this.#fromFinal(state, filter, limit, cursor);
      case 'blocked':
        return { tasks: [] };
    }
  }

  /** Records first, then done rows; the cursor's first character says which. */
  #completed(filter: TaskFilter, limit: number, cursor: string): { tasks: TaskView[]; cursor?: string } {
    if (!cursor.startsWith('d')) {
      const page = this.#fromFinal('completed', filter, limit, cursor.slice(1));
      return { tasks: page.tasks, cursor: page.cursor === undefined ? 'd' : `f${page.cursor}` };
    }
    const page = this.#walk('done', '', '\u0100', cursor.slice(1), limit, filter, (row) => this.#fromDone(row));
    return page.cursor === undefined ? page : { tasks: page.tasks, cursor: `d${page.cursor}` };
  }

  #fromFinal(state: 'completed' | 'dead' | 'cancelled', filter: TaskFilter, limit: number, cursor: string) {
    const queue = filter.queue === undefined ? undefined : this.#core.queueNames.find(filter.queue);
    if (filter.queue !== undefined && queue === undefined) return { tasks: [] };
    const prefix = FINAL_CODE[state] + (queue === undefined ? '' : u16(queue));
    return this.#walk('final', prefix, afterPrefix(prefix), cursor, limit, filter, ([key]) => this.#fromRecord(key.slice(9)));
  }

  /** Goes through rows after the cursor until the page is full; a row's tasks stay together. */
  #walk(
    table: 'ready' | 'later' | 'done' | 'final',
    from: string,
    end: string,
    cursor: string,
    limit: number,
    filter: TaskFilter,
    read: (row: Row) => TaskView[],
  ): { tasks: TaskView[]; cursor?: string } {
    const start = cursor === '' ? from : cursor;
    const tasks: TaskView[] = [];
    const rows = this.#core.tables.range(table, { start, end, limit: ROWS_PER_PAGE });
    for (const row of rows) {
      if (tasks.length >= limit) return { tasks, cursor: row[0] };
      const found = read(row).filter((task) => matches(task, filter));
      if (tasks.length > 0 && tasks.length + found.length > limit) return { tasks, cursor: row[0] };
      tasks.push(...found);
    }
    return rows.length < ROWS_PER_PAGE ? { tasks } : { tasks, cursor: `${rows[rows.length - 1]![0]}\0` };
  }

  #fromSegment([key, row]: Row, state: TaskState): TaskView[] {
    const number = readU48(key, 11);
    const segment = this.#core.segments.get(number) ?? this.#readStored(key, number, row);
    if (segment === undefined) return [];
    const views: TaskView[] = [];
    for (let index = 0; index < segment.count; index++) {
      if (segment.places[index]! >= PLACE.settled) continue;
      const view = this.#viewOfPlace(segment, index);
      if (view.state === state) views.push(view);
    }
    return views;
  }

  #readStored(key: string, number: number, row: Uint8Array): Segment | undefined {
    const lane = key.slice(2, 10);
    const stored = lane === PLAIN_LANE ? undefined : this.#core.tables.get('lane', lane);
    const laneName = stored === undefined ? '' : Buffer.from(stored).toString('utf8');
    const line = this.#core.line(this.#core.queueNames.name(readU16(key, 0)), laneName);
    return readSegment(this.#core, this.#core.lines.at(line, 9 - key.charCodeAt(10)), number, row);
  }

  #fromRecord(key: string): TaskView[] {
    const record = this.#core.getRecord(key);
    return record === undefined || record.isDeleted ? [] : [this.#viewOfRecord(record)];
  }

  #fromDone([key, row]: Row): TaskView[] {
    const header = readHeader(row, this.#core.where, ROW.results);
    const home = homeOf(header);
    const views: TaskView[] = [];
    for (let nth = 0; nth < header.count; nth++) {
      const result = unpackResult(header, nth)!;
      if (result.isDeleted) continue;
      const id = new Uint8Array(ID_BYTES);
      writeId(id, 0, {
        store: this.#core.storeNumber,
        segment: readU48(key, 0),
        index: readU16(key, 6) + nth,
        queue: readU16(home, 0),
        level: 9 - home.charCodeAt(10),
        flags: home.slice(2, 10) === PLAIN_LANE ? 0 : FLAG_LANE,
      });
      views.push(this.#viewOfDone(formatId(id), readU16(home, 0), 9 - home.charCodeAt(10), result));
    }
    return views;
  }

  #viewOf(found: Location, id: string): TaskView {
    if (found.kind === 'record') return this.#viewOfRecord(found.record);
    if (found.kind === 'done') return this.#viewOfDone(id, found.id.queue, found.id.level, found.result);
    return this.#viewOfPlace(found.segment, found.index);
  }

  #viewOfPlace(segment: Segment, index: number): TaskView {
    const held = segment.claims[index];
    const claim = held ?? this.#core.newClaim(segment, index);
    const state: TaskState = segment.places[index] === PLACE.settled ? 'completed' : held !== undefined && !this.#unstarted(held) ? 'running' : 'ready';
    const { name, queue, level, createdAt, body, record, tally } = claim;
    const note = decodeNote(this.#core.tables.get('note', taskKey(record?.segment ?? segment.number, record?.index ?? index)));
    return {
      ...{ id: claim.id, name, queue, priority: level, state, createdAt, body },
      ...{ unhandled: claim.lane === name, failures: tally.failures, crashes: tally.crashes },
      attempts: record?.attempts ?? [],
      logs: note?.logs ?? record?.logs ?? [],
      ...(note?.progress === undefined ? {} : { progress: note.progress }),
    };
  }

  #viewOfRecord(record: TaskRecord): TaskView {
    const at = this.#core.refPlaces.get(taskKey(record.segment, record.index));
    if (at !== undefined && record.state === 'ready') return this.#viewOfPlace(at.segment, at.index);
    const { name, queue, level, state, createdAt, attempts, tally, logs, body } = record;
    return {
      ...{ id: formatId(record.idBytes), name, queue, priority: level, state, createdAt, attempts, logs, body },
      ...{ unhandled: state === 'ready' && record.lane === name, failures: tally.failures, crashes: tally.crashes },
      ...(state === 'scheduled' ? { nextAttemptAt: record.runAt } : {}),
      ...(record.settledAt === 0 ? {} : { settledAt: record.settledAt }),
      ...(record.reason === '' ? {} : { reason: record.reason }),
      ...(record.progress === undefined ? {} : { progress: record.progress }),
      ...(record.result === undefined ? {} : { result: record.result }),
    };
  }

  /** A done row keeps no payload and no name: what completed at its first attempt left only its result. */
  #viewOfDone(id: string, queue: number, level: number, result: UnpackedResult): TaskView {
    const { startedAt, runMs, settledAt } = result;
    return {
      ...{ id, name: this.#core.taskName(result.name), queue: this.#core.queueNames.name(queue), priority: level },
      ...{ state: 'completed', unhandled: false, createdAt: result.createdAt, failures: 0, crashes: 0, settledAt, logs: [] },
      attempts: [{ attempt: 1, startedAt, runMs, outcome: 'completed' }],
      result: new Uint8Array(result.result),
    };
  }
}

function matches(task: TaskView, filter: TaskFilter): boolean {
  return (
    (filter.state === undefined || task.state === filter.state) &&
    (filter.queue === undefined || task.queue === filter.queue) &&
    (filter.name === undefined || task.name === filter.name)
  );
}

function toHex(cursor: string): string {
  return Buffer.from(cursor, 'latin1').toString('hex');
}

function splitCursor(after: string, states: number): [number, string] {
  const [at = '', cursor = ''] = after.split('.', 2);
  const number = Number.parseInt(at, 10);
  return Number.isInteger(number) && number >= 0 && number < states
    ? [number, Buffer.from(cursor, 'hex').toString('latin1')]
    : [0, ''];
}
