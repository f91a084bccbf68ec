/**
 * One batch being staged: fills segments of its own and puts them into the tables as they become full, so
 * that it holds a few megabytes however large it gets; of each task only the 16 bytes of its id stay here.
 */
import { InvalidArgumentError, StoppedError, UnsupportedError } from '../../../errors.js';
import { ID_BYTES } from '../../../task/id.js';
import type { NewTask } from '../../../task/task.js';
import {
  MAX_BATCH_TASKS,
  MAX_STAGED_TASKS,
  NO_UNIQUE_IN_STAGE,
  type Stage,
  type Tickets,
} from '../../broker.js';
import { FLAG_RECORD, writeId, writePlaceId } from '../claim.js';
import type { Core } from '../core.js';
import type { Finals } from '../finals.js';
import { checkNames, type IntakeLimits, metaOf, metasOf } from '../intake.js';
import { taskKey, u48 } from '../keys.js';
import type { LevelQueue } from '../line.js';
import { blankRecord, sealRecord } from '../record.js';
import { TASK_HEADER_BYTES } from '../rows.js';
import { blobsOf, Segment } from '../segment.js';
import { StagedTicket } from '../tickets.js';
import { parkedKey, type StageRange } from './ranges.js';
import type { QueueShare, Stages } from './stages.js';

/** A commit is waited for after so much was put since the one before. */
const SLICE_TASKS = 20_000;
const SLICE_BYTES = 4 * 1024 * 1024;
/** What segments that are not full may hold together before they are put as they are. */
const OPEN_BYTES = 8 * 1024 * 1024;
const BIRTHS_PER_SEGMENT = 65_535;
/** Ids are kept in chunks of so many. */
const IDS_PER_CHUNK = 16_384;

export class EmbeddedStage implements Stage {
  readonly #core: Core;
  readonly #stages: Stages;
  readonly #limits: IntakeLimits;
  readonly #finals: Finals;
  readonly #shares = new Map<number, QueueShare>();
  readonly #open = new Map<LevelQueue, Segment>();
  readonly #firsts = new Map<LevelQueue, number>();
  readonly #transfers: string[] = [];
  readonly #ids: Uint8Array[] = [];
  #range: StageRange | undefined;
  #count = 0;
  #next = 0;
  #births = { segment: 0, next: BIRTHS_PER_SEGMENT };
  #openBytes = 0;
  #slice = { tasks: 0, bytes: 0 };
  #written: Promise<void> = Promise.resolve();
  #isOver = false;
  #abandoned: Promise<void> | undefined;

  constructor(core: Core, stages: Stages, limits: IntakeLimits, finals: Finals) {
    this.#core = core;
    this.#stages = stages;
    this.#limits = limits;
    this.#finals = finals;
    stages.begin();
  }

  async add(tasks: readonly NewTask[]): Promise<void> {
    const { commits, stages } = this.#core;
    this.#check(tasks);
    const metas = metasOf(tasks);
    if (tasks.length === 0) return;
    const range = await this.#reserved();
    commits.check();
    const now = this.#core.now();
    for (let at = 0; at < tasks.length; at++) this.#add(tasks[at]!, metas?.[at], now);
    if (this.#openBytes > OPEN_BYTES) this.#sealAll();
    stages.put(range);
    const flushed = commits.changed();
    this.#slice.tasks += tasks.length;
    if (this.#slice.tasks < SLICE_TASKS && this.#slice.bytes < SLICE_BYTES) return;
    this.#slice = { tasks: 0, bytes: 0 };
    const before = this.#written;
    this.#written = flushed;
    flushed.catch(() => {});
    await before;
  }

  async accept(): Promise<Tickets> {
    this.#checkOpen();
    const ids = this.#ids;
    const tickets: Tickets = {
      length: this.#count,
      ticket: (at) => {
        const chunk = ids[Math.floor(at / IDS_PER_CHUNK)]!;
        return new StagedTicket(chunk, (at % IDS_PER_CHUNK) * ID_BYTES, this.#finals);
      },
    };
    this.#end();
    if (this.#range === undefined) return tickets;
    this.#sealAll();
    await this.#stages.accept(this.#range, this.#next, this.#shares, this.#firsts);
    return tickets;
  }

  abandon(): Promise<void> {
    if (!this.#isOver) {
      this.#end();
      this.#abandoned = this.#abandon();
    }
    return this.#abandoned ?? Promise.resolve();
  }

  async #abandon(): Promise<void> {
    for (const segment of this.#open.values()) {
      for (const body of blobsOf(segment)) this.#core.blobs?.drop(body);
    }
    this.#open.clear();
    for (const { line } of this.#firsts.keys()) {
      line.live--;
      this.#core.idleLines.add(line);
    }
    for (const key of this.#transfers) this.#core.transfers.delete(key);
    if (this.#range !== undefined) await this.#stages.abandon(this.#range);
  }

  #end(): void {
    this.#isOver = true;
    this.#stages.end();
  }

  /** @throws {StoppedError} */
  #checkOpen(): void {
    this.#core.commits.check();
    if (this.#isOver) throw new StoppedError('The batch');
  }

  #check(tasks: readonly NewTask[]): void {
    this.#checkOpen();
    if (tasks.length > MAX_BATCH_TASKS || this.#count + tasks.length > MAX_STAGED_TASKS) {
      throw new InvalidArgumentError('batch', `at most ${MAX_STAGED_TASKS} tasks`);
    }
    let bytes = 0;
    for (const { body, unique } of tasks) {
      bytes += body.length;
      if (unique === undefined) continue;
      throw new UnsupportedError('unique keys in large batches', NO_UNIQUE_IN_STAGE);
    }
    checkNames(this.#core, tasks);
    this.#limits.checkSpace?.(tasks.length, bytes);
  }

  async #reserved(): Promise<StageRange> {
    if (this.#range !== undefined) return this.#range;
    const range = await this.#stages.reserve();
    if (this.#isOver) {
      await this.#stages.abandon(range);
      throw new StoppedError('The batch');
    }
    this.#range = range;
    this.#next = range.first;
    return range;
  }

  #add(task: NewTask, meta: Uint8Array | undefined, now: number): void {
    const at = this.#count++ % IDS_PER_CHUNK;
    if (at === 0) this.#ids.push(new Uint8Array(IDS_PER_CHUNK * ID_BYTES));
    const id = this.#ids[this.#ids.length - 1]!;
    if (task.runAt !== undefined && task.runAt > now) this.#addRecord(task, now, id, at * ID_BYTES);
    else this.#addPlace(task, meta, now, id, at * ID_BYTES);
  }

  #addPlace(task: NewTask, meta: Uint8Array | undefined, now: number, id: Uint8Array, at: number): void {
    const core = this.#core;
    const line = core.lanes.line(task.queue, task.unhandled === true ? task.name : task.lane);
    const queue = line.at(task.level);
    const bytes = TASK_HEADER_BYTES + task.body.length + (meta?.length ?? 0);
    let segment = this.#open.get(queue);
    if (segment === undefined || !segment.hasRoomFor(bytes)) {
      if (segment !== undefined) this.#seal(segment);
      segment = new Segment(this.#next++, queue, now, 'tasks');
      this.#open.set(queue, segment);
      if (!this.#firsts.has(queue)) {
        this.#firsts.set(queue, segment.number);
        line.live++;
      }
    }
    const index = segment.addTask(core.taskNames.number(task.name), task.body, meta);
    this.#openBytes += bytes;
    if (task.transfer !== undefined) this.#transfer(taskKey(segment.number, index), task);
    writePlaceId(id, at, core.storeNumber, segment, index);
    const share = this.#countIn(line.queue);
    share.ready++;
    if (task.unhandled === true) share.unhandled++;
  }

  #addRecord(task: NewTask, now: number, id: Uint8Array, at: number): void {
    const core = this.#core;
    if (this.#births.next >= BIRTHS_PER_SEGMENT) this.#births = { segment: this.#next++, next: 0 };
    const { segment } = this.#births;
    const index = this.#births.next++;
    const { queue } = core.lanes.line(task.queue);
    const { storeNumber: store } = core;
    writeId(id, at, { store, segment, index, queue, level: task.level, flags: FLAG_RECORD });
    const idBytes = id.slice(at, at + ID_BYTES);
    const runAt = task.runAt!;
    const record = { ...blankRecord(segment, index, idBytes, task, now), meta: metaOf(task) ?? {}, runAt };
    const row = sealRecord(record);
    const key = taskKey(segment, index);
    core.blobs?.gain(task.body);
    core.tables.put('task', key, row);
    core.tables.put('later', parkedKey(key), Buffer.from(u48(runAt), 'latin1'));
    this.#slice.bytes += row.length;
    if (task.transfer !== undefined) this.#transfer(key, task);
    this.#countIn(queue).scheduled++;
  }

  #transfer(key: string, { transfer }: NewTask): void {
    this.#core.transfers.set(key, transfer!);
    this.#transfers.push(key);
  }

  /** One more task is blocked in this queue. @returns where it will count. */
  #countIn(queue: number): QueueShare {
    const { blocked } = this.#range!;
    blocked.set(queue, (blocked.get(queue) ?? 0) + 1);
    this.#core.counters.add(queue, 'blocked', 1);
    let share = this.#shares.get(queue);
    if (share === undefined) {
      share = { ready: 0, unhandled: 0, scheduled: 0 };
      this.#shares.set(queue, share);
    }
    return share;
  }

  #sealAll(): void {
    for (const segment of this.#open.values()) this.#seal(segment);
    this.#open.clear();
  }

  #seal(segment: Segment): void {
    const { blobs } = this.#core;
    // In the commit that has the references.
    for (const body of blobsOf(segment)) blobs?.gain(body);
    this.#core.put(segment);
    this.#slice.bytes += segment.rowBytes;
    this.#openBytes = Math.max(0, this.#openBytes - segment.rowBytes);
  }
}
