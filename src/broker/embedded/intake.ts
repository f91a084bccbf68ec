/** How tasks come in: checked against the bounds, held against unique keys, and placed into open segments. */
import { DuplicateTaskError, InvalidArgumentError, QueueFullError } from '../../errors.js';
import { formatId, ID_BYTES } from '../../task/id.js';
import type { NewTask } from '../../task/task.js';
import type { Enqueued, Settled, Ticket } from '../broker.js';
import { FLAG_RECORD, writeId, writePlaceId } from './claim.js';
import type { Core } from './core.js';
import { taskKey } from './keys.js';
import { blankRecord, EMPTY, encodeMeta, laterKey, sealRecord, type TaskMeta, type TaskRecord } from './record.js';
import { PLACE, type Segment, type Waiter } from './segment.js';
import type { Uniques } from './uniques.js';

/** Tasks of one batch are one commit; larger ones are refused. */
export const MAX_BATCH_TASKS = 20_000;
export const MAX_BATCH_BYTES = 64 * 1024 * 1024;
const BIRTHS_PER_SEGMENT = 65_535;

export interface IntakeLimits {
  readonly maxPendingEnqueues: number;
  readonly maxPendingBytes: number;
}

export class Intake {
  readonly #core: Core;
  readonly #uniques: Uniques;
  readonly #limits: IntakeLimits;
  readonly #byId: (id: string) => Promise<Settled>;
  #pendingBytes = 0;
  /** Number that ids of tasks born as records share, and the next index in it. */
  #births = { segment: 0, next: BIRTHS_PER_SEGMENT };

  constructor(core: Core, uniques: Uniques, limits: IntakeLimits, byId: (id: string) => Promise<Settled>) {
    this.#core = core;
    this.#uniques = uniques;
    this.#limits = limits;
    this.#byId = byId;
  }

  enqueue(batch: readonly NewTask[]): Enqueued {
    const { commits } = this.#core;
    commits.check();
    const bytes = this.#checkBounds(batch);
    this.#checkUnique(batch);
    const now = this.#core.now();
    const tickets: Ticket[] = [];
    for (let at = 0; at < batch.length; at++) tickets.push(this.#add(batch[at]!, now));
    this.#pendingBytes += bytes;
    const accepted = commits.accepted(batch.length);
    const release = (): void => {
      this.#pendingBytes -= bytes;
    };
    accepted.then(release, release);
    this.#core.wake();
    return { tickets, accepted };
  }

  /** Places tasks that a handler enqueued into the running turn, without asking for bounds. */
  addAll(batch: readonly NewTask[]): void {
    const now = this.#core.now();
    for (const task of batch) this.#add(task, now);
  }

  #checkBounds(batch: readonly NewTask[]): number {
    let bytes = 0;
    for (let at = 0; at < batch.length; at++) bytes += batch[at]!.body.length;
    if (batch.length > MAX_BATCH_TASKS || (bytes > MAX_BATCH_BYTES && batch.length > 1)) {
      throw new InvalidArgumentError('batch', `at most ${MAX_BATCH_TASKS} tasks and ${MAX_BATCH_BYTES} bytes`);
    }
    const pending = this.#core.commits.pendingAcceptances + batch.length;
    if (pending > this.#limits.maxPendingEnqueues) {
      throw new QueueFullError('Tasks that wait for their flush', pending, this.#limits.maxPendingEnqueues);
    }
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > this.#limits.maxPendingBytes) {
      const limit = this.#limits.maxPendingBytes;
      throw new QueueFullError('Bytes that wait for their flush', this.#pendingBytes + bytes, limit);
    }
    return bytes;
  }

  /** Refuses the whole batch before anything is placed. */
  #checkUnique(batch: readonly NewTask[]): void {
    let seen: Set<string> | undefined;
    for (const task of batch) {
      if (task.unique === undefined) continue;
      seen ??= new Set();
      const name = `${task.name}\0${task.unique.key}`;
      if (task.unique.onConflict === 'reject') {
        const holder = this.#uniques.holder(task.name, task.unique.key);
        if (holder !== undefined) throw new DuplicateTaskError(task.unique.key, formatId(holder));
        if (seen.has(name)) throw new DuplicateTaskError(task.unique.key, 'of the same batch');
      }
      seen.add(name);
    }
  }

  #add(task: NewTask, now: number): Ticket {
    if (task.unique !== undefined) {
      const holder = this.#uniques.holder(task.name, task.unique.key);
      if (holder !== undefined) {
        if (task.unique.onConflict !== 'replace') return new IdTicket(formatId(holder), false, this.#byId);
        this.#uniques.replace(holder);
      }
    }
    return task.runAt !== undefined && task.runAt > now ? this.#addRecord(task, now) : this.#addPlace(task, now);
  }

  #addPlace(task: NewTask, now: number): Ticket {
    const core = this.#core;
    const line = core.line(task.queue, task.unhandled === true ? task.name : '');
    const queue = core.lines.at(line, task.level);
    const afterCommit = task.startAfterCommit === true;
    let segment = afterCommit ? queue.openAfterCommit : queue.openTasks;
    const meta = metaOf(task);
    const metaBytes = meta === undefined ? undefined : encodeMeta(meta);
    if (segment === undefined || !segment.hasRoomFor(task.body.length + (metaBytes?.length ?? 0))) {
      if (segment !== undefined) segment.sealed = true;
      segment = core.newSegment(queue, now, 'tasks', afterCommit);
      core.commits.turn.newSegments.push(segment);
      if (afterCommit) queue.openAfterCommit = segment;
      else queue.openTasks = segment;
    } else if (segment.resident && segment.waiting === 0) {
      queue.insert(segment);
      core.lines.wake(queue);
    }
    const index = segment.addTask(core.taskNames.number(task.name), task.body, metaBytes);
    if (segment.resident) core.residentTasks++;
    core.counters.add(line.queue, 'ready', 1);
    if (task.unhandled === true) core.counters.add(line.queue, 'unhandled', 1);
    if (task.transfer !== undefined) core.transfers.set(taskKey(segment.number, index), task.transfer);
    if (task.unique !== undefined) {
      const id = new Uint8Array(ID_BYTES);
      writePlaceId(id, 0, core.storeNumber, segment, index);
      this.#uniques.take(task.name, task.unique, id, now);
    }
    return new PlaceTicket(core.storeNumber, segment, index, this.#byId);
  }

  #addRecord(task: NewTask, now: number): Ticket {
    const core = this.#core;
    if (this.#births.next >= BIRTHS_PER_SEGMENT) this.#births = { segment: core.nextSegment++, next: 0 };
    const { segment } = this.#births;
    const index = this.#births.next++;
    const line = core.line(task.queue);
    const idBytes = new Uint8Array(ID_BYTES);
    const { storeNumber: store } = core;
    writeId(idBytes, 0, { store, segment, index, queue: line.queue, level: task.level, flags: FLAG_RECORD });
    const record: TaskRecord = {
      ...blankRecord(segment, index, idBytes, task, now),
      meta: metaOf(task) ?? {},
      runAt: task.runAt!,
    };
    const key = taskKey(segment, index);
    core.tables.put('task', key, sealRecord(record));
    core.tables.put('later', laterKey(record), EMPTY);
    core.counters.add(line.queue, 'scheduled', 1);
    if (task.transfer !== undefined) core.transfers.set(key, task.transfer);
    if (task.unique !== undefined) this.#uniques.take(task.name, task.unique, idBytes, now);
    return new IdTicket(formatId(idBytes), true, this.#byId);
  }
}

function metaOf(task: NewTask): TaskMeta | undefined {
  const { options, staleAt, unique, parent } = task;
  if (options === undefined && staleAt === undefined && unique === undefined && parent === undefined) return undefined;
  return {
    ...(options === undefined ? {} : { options }),
    ...(staleAt === undefined ? {} : { staleAt }),
    ...(unique === undefined
      ? {}
      : { unique: { key: unique.key, ...(unique.forMs === undefined ? {} : { forMs: unique.forMs }) } }),
    ...(parent === undefined ? {} : { parent }),
  };
}

/** A ticket for a task in a segment of this process: asks the segment first. */
class PlaceTicket implements Ticket {
  readonly isNew = true;
  readonly #store: number;
  readonly #segment: Segment;
  readonly #index: number;
  readonly #byId: (id: string) => Promise<Settled>;

  constructor(store: number, segment: Segment, index: number, byId: (id: string) => Promise<Settled>) {
    this.#store = store;
    this.#segment = segment;
    this.#index = index;
    this.#byId = byId;
  }

  get id(): string {
    const bytes = new Uint8Array(ID_BYTES);
    writePlaceId(bytes, 0, this.#store, this.#segment, this.#index);
    return formatId(bytes);
  }

  settled(): Promise<Settled> {
    const segment = this.#segment;
    const index = this.#index;
    const outcome = segment.outcomes?.[index];
    if (outcome !== undefined) return Promise.resolve(outcome);
    const isHere = segment.places[index] !== PLACE.gone && (segment.resident || !segment.isFlushed);
    if (!isHere) return this.#byId(this.id);
    return waitOn(segment, index);
  }
}

/** Resolves when the task of this place is final and flushed. */
export function waitOn(segment: Segment, index: number): Promise<Settled> {
  return new Promise((resolve, reject) => {
    const tell: Waiter = (settled) => (settled instanceof Error ? reject(settled) : resolve(settled));
    segment.waiters ??= [];
    const waiting = segment.waiters[index];
    if (waiting === undefined) segment.waiters[index] = [tell];
    else waiting.push(tell);
  });
}

class IdTicket implements Ticket {
  readonly id: string;
  readonly isNew: boolean;
  readonly #byId: (id: string) => Promise<Settled>;

  constructor(id: string, isNew: boolean, byId: (id: string) => Promise<Settled>) {
    this.id = id;
    this.isNew = isNew;
    this.#byId = byId;
  }

  settled(): Promise<Settled> {
    return this.#byId(this.id);
  }
}
