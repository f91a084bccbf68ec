/** How tasks come in: checked against the bounds, held against unique keys, and placed into open segments. */
import { DuplicateTaskError, InvalidArgumentError, QueueFullError } from '../../errors.js';
import { isBlobRef } from '../../task/blob-ref.js';
import { formatId, ID_BYTES } from '../../task/id.js';
import type { NewTask } from '../../task/task.js';
import { type Enqueued, MAX_BATCH_TASKS, type Ticket } from '../broker.js';
import type { FactChange } from '../key-value.js';
import { FLAG_RECORD, writeId, writePlaceId } from './claim.js';
import type { Core } from './core.js';
import type { Finals } from './finals.js';
import { FactWriter } from './key-value.js';
import { taskKey } from './keys.js';
import {
  blankRecord,
  EMPTY,
  encodeMeta,
  laterKey,
  sealRecord,
  type TaskMeta,
  type TaskRecord,
} from './record.js';
import { TASK_HEADER_BYTES } from './rows.js';
import { IdTicket, PlaceTicket } from './tickets.js';
import type { Uniques } from './uniques.js';

export const MAX_BATCH_BYTES = 64 * 1024 * 1024;
/** What a task's own options and keys may take, encoded: their length has two bytes. */
const MAX_META_BYTES = 65_535;
const BIRTHS_PER_SEGMENT = 65_535;

export interface IntakeLimits {
  readonly maxPendingEnqueues: number;
  readonly maxPendingBytes: number;
  /** Asked last before tasks are placed; throws when the store has no room for them. */
  readonly checkSpace?: (tasks: number, bytes: number) => void;
  /** Whether it would let so many bytes in; by default always. */
  readonly hasSpace?: (bytes: number) => boolean;
}

export type Metas = readonly (Uint8Array | undefined)[] | undefined;

export class Intake {
  readonly #core: Core;
  readonly #uniques: Uniques;
  readonly #limits: IntakeLimits;
  readonly #finals: Finals;
  /** Number that ids of tasks born as records share, and the next index in it. */
  #births = { segment: 0, next: BIRTHS_PER_SEGMENT };

  constructor(core: Core, uniques: Uniques, limits: IntakeLimits, finals: Finals) {
    this.#core = core;
    this.#uniques = uniques;
    this.#limits = limits;
    this.#finals = finals;
  }

  enqueue(batch: readonly NewTask[], fact?: FactChange): Enqueued {
    const { commits } = this.#core;
    commits.check();
    const writer = fact === undefined ? undefined : new FactWriter(this.#core, fact, batch.length);
    const bytes = this.checkBounds(batch);
    const metas = this.check(batch);
    const tickets = this.#place(batch, metas);
    writer?.put(tickets.map(({ id }) => id));
    const accepted = commits.accepted(batch.length, bytes);
    this.#core.wake();
    return { tickets, accepted };
  }

  /** Places tasks that a handler enqueued into the running turn, without asking for bounds. */
  addAll(batch: readonly NewTask[]): void {
    this.#place(batch, metasOf(batch));
  }

  #place(batch: readonly NewTask[], metas: Metas): Ticket[] {
    const now = this.#core.now();
    const tickets: Ticket[] = [];
    for (let at = 0; at < batch.length; at++) tickets.push(this.#add(batch[at]!, metas?.[at], now));
    return tickets;
  }

  /** @returns the bytes of their payloads. */
  checkBounds(batch: readonly NewTask[]): number {
    let bytes = 0;
    for (let at = 0; at < batch.length; at++) bytes += batch[at]!.body.length;
    if (batch.length > MAX_BATCH_TASKS || (bytes > MAX_BATCH_BYTES && batch.length > 1)) {
      throw new InvalidArgumentError(
        'batch',
        `at most ${MAX_BATCH_TASKS} tasks and ${MAX_BATCH_BYTES} bytes`,
      );
    }
    const { pendingAcceptances, pendingBytes } = this.#core.commits;
    const pending = pendingAcceptances + batch.length;
    if (pending > this.#limits.maxPendingEnqueues) {
      throw new QueueFullError('Tasks that wait for their flush', pending, this.#limits.maxPendingEnqueues);
    }
    if (pendingBytes > 0 && pendingBytes + bytes > this.#limits.maxPendingBytes) {
      const limit = this.#limits.maxPendingBytes;
      throw new QueueFullError('Bytes that wait for their flush', pendingBytes + bytes, limit);
    }
    this.checkSpace(batch.length, bytes);
    return bytes;
  }

  /** @throws {StoreFullError} */
  checkSpace(tasks: number, bytes: number): void {
    this.#limits.checkSpace?.(tasks, bytes);
  }

  /** Refuses the whole batch before anything is placed. @returns what is stored beside the bodies. */
  check(batch: readonly NewTask[]): Metas {
    checkNames(this.#core, batch);
    const metas = metasOf(batch);
    if (metas !== undefined) this.#checkUnique(batch);
    return metas;
  }

  #checkUnique(batch: readonly NewTask[]): void {
    const seen = new Set<string>();
    for (const task of batch) {
      if (task.unique === undefined) continue;
      const name = `${task.name}\0${task.unique.key}`;
      if (task.unique.onConflict === 'reject') {
        const holder = this.#uniques.holder(task.name, task.unique.key);
        if (holder !== undefined) throw new DuplicateTaskError(task.unique.key, formatId(holder));
        if (seen.has(name)) throw new DuplicateTaskError(task.unique.key, 'of the same batch');
      }
      seen.add(name);
    }
  }

  #add(task: NewTask, meta: Uint8Array | undefined, now: number): Ticket {
    if (task.unique !== undefined) {
      const holder = this.#uniques.holder(task.name, task.unique.key);
      if (holder !== undefined) {
        if (task.unique.onConflict !== 'replace') {
          this.#core.blobs?.drop(task.body);
          return new IdTicket(formatId(holder), false, this.#finals);
        }
        this.#uniques.replace(holder);
      }
    }
    if (task.runAt !== undefined && task.runAt > now) return this.#addRecord(task, now);
    return this.#addPlace(task, meta, now);
  }

  #addPlace(task: NewTask, meta: Uint8Array | undefined, now: number): Ticket {
    const core = this.#core;
    const line = core.lanes.line(task.queue, task.unhandled === true ? task.name : task.lane);
    const queue = line.at(task.level);
    const bytes = TASK_HEADER_BYTES + task.body.length + (meta?.length ?? 0);
    let segment = queue.open;
    if (segment === undefined || segment.isRefs || !segment.hasRoomFor(bytes)) {
      segment = core.openSegment(queue, now, 'tasks');
    }
    const index = segment.addTask(core.taskNames.number(task.name), task.body, meta);
    core.blobs?.gain(task.body);
    if (mustWait(task) && index < segment.heldFrom) segment.heldFrom = index;
    core.admit(segment, bytes);
    core.counters.add(line.queue, 'ready', 1);
    if (task.unhandled === true) core.counters.add(line.queue, 'unhandled', 1);
    if (task.transfer !== undefined) core.transfers.set(taskKey(segment.number, index), task.transfer);
    if (task.unique !== undefined) {
      const id = new Uint8Array(ID_BYTES);
      writePlaceId(id, 0, core.storeNumber, segment, index);
      this.#uniques.take(task.name, task.unique, id, now);
    }
    return new PlaceTicket(core.storeNumber, segment, index, this.#finals);
  }

  #addRecord(task: NewTask, now: number): Ticket {
    const core = this.#core;
    if (this.#births.next >= BIRTHS_PER_SEGMENT) this.#births = { segment: core.nextSegment++, next: 0 };
    const { segment } = this.#births;
    const index = this.#births.next++;
    const line = core.lanes.line(task.queue);
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
    core.blobs?.gain(task.body);
    if (mustWait(task)) core.commits.turn.held.add(key);
    if (task.transfer !== undefined) core.transfers.set(key, task.transfer);
    if (task.unique !== undefined) this.#uniques.take(task.name, task.unique, idBytes, now);
    return new IdTicket(formatId(idBytes), true, this.#finals);
  }
}

/** Until it is flushed: because it says so, or because its payload is in a file. */
export function mustWait({ startAfterCommit, body }: NewTask): boolean {
  return startAfterCommit === true || isBlobRef(body);
}

/** @throws {InvalidArgumentError} when the store has no numbers left for so many names. */
export function checkNames({ taskNames, queueNames }: Core, batch: readonly NewTask[]): void {
  if (!taskNames.hasRoomFor(batch.length)) taskNames.check(batch.map((task) => task.name));
  if (!queueNames.hasRoomFor(batch.length)) queueNames.check(batch.map((task) => task.queue));
}

/** What is stored beside the bodies. @throws {InvalidArgumentError} */
export function metasOf(batch: readonly NewTask[]): Metas {
  let metas: (Uint8Array | undefined)[] | undefined;
  for (let at = 0; at < batch.length; at++) {
    const meta = metaOf(batch[at]!);
    if (meta === undefined) continue;
    const bytes = encodeMeta(meta);
    if (bytes.length > MAX_META_BYTES) {
      throw new InvalidArgumentError(`batch[${at}]`, `at most ${MAX_META_BYTES} bytes beside its payload`);
    }
    metas ??= [];
    metas[at] = bytes;
  }
  return metas;
}

export function metaOf(task: NewTask): TaskMeta | undefined {
  const { options, staleAt, unique, parent, schedule } = task;
  const lane = task.lane === undefined ? undefined : laneApart(task);
  const isPlain =
    options === undefined && staleAt === undefined && unique === undefined && parent === undefined;
  if (isPlain && schedule === undefined) return lane === undefined ? undefined : { lane };
  return {
    ...(options === undefined ? {} : { options }),
    ...(staleAt === undefined ? {} : { staleAt }),
    ...(unique === undefined
      ? {}
      : { unique: { key: unique.key, ...(unique.forMs === undefined ? {} : { forMs: unique.forMs }) } }),
    ...(parent === undefined ? {} : { parent }),
    ...(lane === undefined ? {} : { lane }),
    ...(schedule === undefined ? {} : { schedule }),
  };
}

/** The lane of a task that does not stand in it at once. */
function laneApart({ lane, runAt, unhandled }: NewTask): string | undefined {
  return unhandled === true || runAt !== undefined ? lane : undefined;
}
