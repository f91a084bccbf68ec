/** What is shown of flows: themselves, their members, and the parents of one of them, in pages. */
import { InvalidArgumentError, ResultExpiredError } from '../../../errors.js';
import { formatId } from '../../../task/id.js';
import type { TaskView } from '../../../task/task.js';
import {
  type FlowPage,
  type FlowView,
  MAX_PARENTS_LISTED,
  type ParentsPage,
  type ParentView,
} from '../../flows.js';
import type { Depth, Page } from '../../inspect.js';
import type { Core } from '../core.js';
import { readU48, taskKey } from '../keys.js';
import { locate } from '../locating.js';
import { isFinalRecord, openRecord, settledOf, type TaskRecord } from '../record.js';
import { afterPrefix, type Row } from '../tables.js';
import type { Views } from '../views.js';
import type { FlowBook } from './book.js';
import { keysKey, rowsOf } from './errands.js';
import { type Flow, labelPrefix, openKeys, openParent } from './rows.js';

const MAX_LISTED = 1_000;
/** Flows looked at for one page. */
const LOOKED_PER_PAGE = 2_000;
const ROWS_PER_READ = 32;
/** Parents named by `get`, for each label. */
const FIRST_PARENTS = 10;
/** A page of parents ends behind so many bytes of results. */
const PARENT_BYTES = 1024 * 1024;

export class FlowReading {
  readonly #core: Core;
  readonly #book: FlowBook;
  readonly #views: Views;

  constructor(core: Core, book: FlowBook, views: Views) {
    this.#core = core;
    this.#book = book;
    this.#views = views;
  }

  view(flow: Flow): FlowView {
    const row = this.#core.tables.get('flow', keysKey(flow.number));
    const stored = row === undefined ? undefined : openKeys(row, this.#core.where);
    const keys = new Map(Array.from(stored ?? [], ([key, id]) => [key, formatId(id)]));
    return { ...this.#book.viewOf(flow), keys };
  }

  /** Newest first. */
  list(limit: number, after: string | undefined): FlowPage {
    checkLimit(limit, MAX_LISTED);
    const flows: FlowView[] = [];
    let looked = 0;
    for (let end = after === undefined ? '\u0100' : readCursor(after); ; ) {
      const range = { start: '', end, limit: ROWS_PER_READ, reverse: true };
      const rows = this.#core.tables.range('flow', range);
      for (const [key] of rows) {
        end = key;
        if (key.length > 6) continue;
        const flow = this.#core.tryRead(() => this.#book.get(readU48(key, 0)));
        if (flow !== undefined && flow.phase !== 'staging' && flow.phase !== 'deleted')
          flows.push(this.#book.viewOf(flow));
        if (flows.length >= limit || ++looked >= LOOKED_PER_PAGE) return { flows, after: writeCursor(key) };
      }
      if (rows.length < ROWS_PER_READ) return { flows };
    }
  }

  async tasks(flow: Flow, limit: number, after: string | undefined, depth: Depth): Promise<Page> {
    checkLimit(limit, MAX_LISTED);
    const views: TaskView[] = [];
    let last = after === undefined ? '' : readCursor(after);
    for (let looked = 0; views.length < limit && looked < LOOKED_PER_PAGE; ) {
      const rows = rowsOf(this.#core, 'task', flow, last, Math.min(limit - views.length, ROWS_PER_READ));
      for (const [key, row] of rows) {
        last = key;
        const view = this.#core.tryRead(() => this.#views.ofRecord(openRecord(row, this.#core.where)));
        if (view !== undefined) views.push(view);
      }
      looked += rows.length;
      if (rows.length === 0) return { tasks: await this.#inDepth(views, depth) };
    }
    return { tasks: await this.#inDepth(views, depth), after: writeCursor(last) };
  }

  /** A cursor is the row that comes next: of the child, and behind a dot that of a join. */
  parents(child: string, label: string, limit: number, after: string | undefined): ParentsPage {
    checkLimit(limit, MAX_PARENTS_LISTED);
    const found = locate(this.#core, child);
    const record = found.kind === 'record' ? found.record : undefined;
    const at = record?.meta.flow?.labels.indexOf(label) ?? -1;
    if (record === undefined || at < 0) return { parents: [] };
    const prefix = labelPrefix(keyOf(record), at);
    const parents: ParentView[] = [];
    let bytes = 0;
    for (const { cursor, id } of this.#parentRows(prefix, after)) {
      if (parents.length >= limit || (parents.length > 0 && bytes > PARENT_BYTES))
        return { parents, after: cursor };
      const parent = this.#parent(formatId(id));
      parents.push(parent);
      bytes += parent.result?.length ?? 0;
    }
    return { parents };
  }

  /** For each label, the first of its parents. */
  firstParentsOf(record: TaskRecord): TaskView['after'] {
    return record.meta.flow?.labels.map((label, at) => {
      const parents: string[] = [];
      for (const { id } of this.#parentRows(labelPrefix(keyOf(record), at), undefined)) {
        if (parents.push(formatId(id)) >= FIRST_PARENTS) break;
      }
      return { label, parents };
    });
  }

  *#parentRows(prefix: string, after: string | undefined) {
    const [outer = '', inner = ''] = after === undefined ? [] : after.split('.').map(readCursor);
    for (const [key, value] of this.#rows(prefix, outer)) {
      const cursor = writeCursor(key);
      const parent = openParent(value, this.#core.where);
      if ('id' in parent) {
        yield { cursor, id: parent.id };
        continue;
      }
      for (const [place, id] of this.#rows(labelPrefix(parent.join, 0), key === outer ? inner : '')) {
        yield { cursor: `${cursor}.${writeCursor(place)}`, id };
      }
    }
  }

  *#rows(prefix: string, from: string): Iterable<Row> {
    const end = afterPrefix(prefix);
    for (let start = from > prefix ? from : prefix; ; ) {
      const rows = this.#core.tables.range('parent', { start, end, limit: ROWS_PER_READ });
      yield* rows;
      if (rows.length < ROWS_PER_READ) return;
      start = `${rows[rows.length - 1]![0]}\0`;
    }
  }

  /** Large results stay references: whoever reads them is seldom on this thread. */
  #parent(id: string): ParentView {
    try {
      const found = locate(this.#core, id);
      if (found.kind === 'done')
        return { id, state: 'completed', result: new Uint8Array(found.result.result) };
      if (found.kind === 'record' && isFinalRecord(found.record)) return settledOf(found.record);
      const { state, result } = this.#views.of(found, id);
      return result === undefined ? { id, state } : { id, state, result };
    } catch (error) {
      if (error instanceof ResultExpiredError) return { id, state: 'expired' };
      throw error;
    }
  }

  async #inDepth(views: readonly TaskView[], depth: Depth): Promise<readonly TaskView[]> {
    if (depth === 'brief') return views.map(({ body: _body, result: _result, ...rest }) => rest);
    return Promise.all(views.map((view) => this.#views.whole(view, 'omit')));
  }
}

function checkLimit(limit: number, most: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > most) {
    throw new InvalidArgumentError('limit', `an integer from 1 to ${most}`, limit);
  }
}

function keyOf({ segment, index }: TaskRecord): string {
  return taskKey(segment, index);
}

function writeCursor(key: string): string {
  return Buffer.from(key, 'latin1').toString('hex');
}

/** @throws {InvalidArgumentError} */
function readCursor(after: string): string {
  if (!/^(?:[0-9a-f]{2})*$/.test(after))
    throw new InvalidArgumentError('after', 'the `after` of a page', after);
  return Buffer.from(after, 'hex').toString('latin1');
}
