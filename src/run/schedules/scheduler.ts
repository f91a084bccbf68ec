/**
 * Fires schedules: one timer, armed toward the earliest instant at which one of them is to be looked at. What
 * a look decides is a pure function (`schedule/decide.ts`); here its fires become tasks, in the transaction
 * that writes the new state. Works in slices, so that the host goes on while thousands are due.
 *
 * Only a runtime that owns the tasks fires. Without schedules it reads one page at its start, and nothing of
 * cron is loaded.
 */
import type { Backend, Ticket } from '../../broker/broker.js';
import type { Fact } from '../../broker/key-value.js';
import type { Clock, Disarm, EpochMs } from '../../clock.js';
import {
  FactChangedError,
  QueueFullError,
  StoppedError,
  StoreFencedError,
  StoreFullError,
} from '../../errors.js';
import type { RuntimeOptions } from '../../options/types.js';
import type { Decision } from '../../schedule/decide.js';
import type { NewTask, TaskId } from '../../task/task.js';
import type { Front } from '../front.js';
import type { Gather } from '../gather.js';
import type { Telling } from '../telling.js';
import {
  decodeSchedule,
  encodeSchedule,
  SCHEDULE_PREFIX,
  SCHEDULES_PER_READ,
  type StoredSchedule,
} from './fact.js';
import { decideNow } from './look.js';
import { LookHeap } from './look-heap.js';

export interface SchedulerHost {
  readonly backend: Backend;
  readonly options: Pick<RuntimeOptions, 'clock' | 'logger' | 'calendars'>;
  readonly front: Pick<Front, 'fromSchedule'>;
  readonly gather: Pick<Gather, 'apart' | 'flush' | 'drop'>;
  readonly telling: Pick<Telling, 'fired' | 'decided'>;
  /** A task becomes due then. */
  due(at: EpochMs): void;
}

/** Instants are looked up again at least this often, whatever the clocks did meanwhile. */
const LOOK_AGAIN_MS = 60_000;
/** Schedules that are looked at between two turns of the event loop. */
const SLICE_SCHEDULES = 25;
/** How long a fire waits that the store has no room for, and a schedule that cannot be looked at. */
const ROOM_WAIT_MS = 1_000;
const FAULT_WAIT_MS = 60_000;
/** Others may change a schedule while it is looked at, each time with success. */
const MAX_TRIES = 100;

/** Fires of one schedule that share a flush. */
const SLICE_FIRES = 25;

/** A fire on its way into the store. */
interface Fire {
  readonly task: NewTask;
  readonly ticket: Ticket;
  readonly accepted: Promise<void>;
}

export class Scheduler {
  readonly #host: SchedulerHost;
  readonly #clock: Clock;
  readonly #heap = new LookHeap();
  /** Under way; at most one of each schedule. */
  readonly #looks = new Map<string, Promise<void>>();
  #loaded: Promise<void> | undefined;
  #polledAt: EpochMs = Number.NEGATIVE_INFINITY;
  #polling: Promise<void> | undefined;
  #disarm: Disarm | undefined;
  #isStarted = false;
  #isStopped = false;
  /** Set by who administers tasks: ends the task of the last fire. */
  cancel: (id: TaskId) => Promise<unknown> = () => Promise.resolve();

  constructor(host: SchedulerHost) {
    this.#host = host;
    this.#clock = host.options.clock;
  }

  /** Fires from now on what is due. */
  start(): void {
    this.#isStarted = true;
    this.poll().catch((error) => this.#failed(error));
  }

  stop(): void {
    this.#isStopped = true;
    this.#disarm?.();
    this.#heap.clear();
  }

  /** When the next schedule is to be looked at, as far as they have been read. */
  get nextLookAt(): EpochMs | undefined {
    return this.#heap.nextAt;
  }

  /** A schedule was stored or changed. Resolves when it was looked at, where anything fires at all. */
  async changed(id: string): Promise<void> {
    if (this.#loaded === undefined || this.#isStopped) return;
    this.#heap.set(id, Number.NEGATIVE_INFINITY);
    if (!this.#isStarted) return;
    while (this.#looks.has(id)) await this.looked(id);
    // By itself: others may be due without end.
    this.#heap.set(id, undefined);
    await this.#look(id);
    if (this.#polling === undefined) this.#arm();
  }

  /**
   * Resolves when no look at it is under way. Before a schedule is made where one was deleted: its versions
   * count from 1 again, so that a fire of the old one would take the new one for its own.
   */
  async looked(id: string): Promise<void> {
    await this.#looks.get(id);
  }

  /** Looks at all that are due, and arms the timer for the next. One poll at a time. */
  poll(): Promise<void> {
    this.#polling ??= this.#poll().finally(() => {
      this.#polling = undefined;
      this.#arm();
    });
    return this.#polling;
  }

  async #poll(): Promise<void> {
    this.#loaded ??= this.#load();
    await this.#loaded;
    const now = this.#clock.now();
    // The clock was set back: who waits a minute must not wait until it is there again.
    if (now < this.#polledAt - LOOK_AGAIN_MS) this.#heap.setAll(now);
    this.#polledAt = now;
    while (!this.#isStopped) {
      const ids = this.#heap.takeDue(this.#clock.now(), SLICE_SCHEDULES);
      if (ids.length === 0) return;
      await Promise.all(ids.map((id) => this.#look(id)));
      await new Promise(setImmediate);
    }
  }

  #arm(): void {
    this.#disarm?.();
    if (!this.#isStarted || this.#isStopped) return;
    const at = this.#heap.nextAt;
    if (at === undefined) return;
    const poll = (): void => void this.poll().catch((error) => this.#failed(error));
    const ms = Math.min(at - this.#clock.now(), LOOK_AGAIN_MS);
    if (ms <= 0) poll();
    else this.#disarm = this.#clock.arm(ms, poll);
  }

  async #load(): Promise<void> {
    for (let after: string | undefined; ; ) {
      const page = await this.#host.backend.keyValue.list(SCHEDULE_PREFIX, SCHEDULES_PER_READ, after);
      for (const { key } of page) {
        this.#heap.set(key.slice(SCHEDULE_PREFIX.length), Number.NEGATIVE_INFINITY);
      }
      after = page.at(-1)?.key;
      if (page.length < SCHEDULES_PER_READ) return;
      await new Promise(setImmediate);
    }
  }

  #look(id: string): Promise<void> {
    const look = this.#lookAt(id).finally(() => this.#looks.delete(id));
    this.#looks.set(id, look);
    return look;
  }

  /** Never rejects: what goes wrong with one schedule is no matter to the others. */
  async #lookAt(id: string): Promise<void> {
    let lookAt: EpochMs | undefined;
    try {
      lookAt = await this.#lookUntilDecided(id);
    } catch (error) {
      this.#failed(error, id);
      const isFull = error instanceof QueueFullError || error instanceof StoreFullError;
      lookAt = this.#clock.now() + (isFull ? ROOM_WAIT_MS : FAULT_WAIT_MS);
    }
    // Unless it was changed meanwhile: then it is to be looked at now.
    if (!this.#isStopped && !this.#heap.has(id)) this.#heap.set(id, lookAt);
  }

  async #lookUntilDecided(id: string): Promise<EpochMs | undefined> {
    for (let tries = 1; ; tries++) {
      const fact = await this.#host.backend.keyValue.get(SCHEDULE_PREFIX + id);
      if (fact === undefined || this.#isStopped) return undefined;
      try {
        return await this.#lookAtFact(id, fact);
      } catch (error) {
        if (!(error instanceof FactChangedError) || tries >= MAX_TRIES) throw error;
      }
    }
  }

  /** @throws (rejects) {FactChangedError} when another one was there first; nothing is stored then. */
  async #lookAtFact(id: string, { value, version }: Fact): Promise<EpochMs | undefined> {
    const schedule = decodeSchedule(value);
    const { decision, tasks } = await decideNow(id, schedule, this.#host);
    const { error } = decision.state;
    if (error !== undefined && error !== schedule.state.error) {
      this.#host.options.logger.error({ schedule: id, error }, 'a schedule cannot fire');
    }
    if (tasks.length > 0) await this.#fire(id, schedule, version, decision, tasks);
    else if (isChanged(schedule.state, decision.state)) {
      const next = encodeSchedule({ ...schedule, state: decision.state });
      const stored = await this.#host.backend.keyValue.put(SCHEDULE_PREFIX + id, next, {
        ifVersion: version,
      });
      if (stored === undefined) throw new FactChangedError(SCHEDULE_PREFIX + id, version, version + 1);
    }
    this.#host.telling.decided(id, schedule.task.name, decision);
    return decision.lookAt;
  }

  /**
   * Fires one by one: the task and what has become of its schedule are both stored, or neither. What is left
   * when the store has no room for more is decided again later.
   */
  async #fire(
    id: string,
    schedule: StoredSchedule,
    version: number,
    { fires, state, cancelsLast }: Decision,
    tasks: readonly NewTask[],
  ): Promise<void> {
    if (cancelsLast) await this.cancel(schedule.lastTaskId!).catch(() => {});
    let slice: Fire[] = [];
    try {
      for (const [at, fireAt] of fires.entries()) {
        const runs = schedule.state.runs + at + 1;
        const isLast = at === fires.length - 1;
        const now = isLast ? state : { ...schedule.state, since: fireAt, lastFireAt: fireAt, runs };
        slice.push(await this.#enqueue(id, tasks[at]!, { ...schedule, state: now }, version + at));
        if (slice.length < SLICE_FIRES) continue;
        await this.#accepted(slice);
        slice = [];
      }
    } finally {
      await this.#accepted(slice);
    }
  }

  async #enqueue(id: string, made: NewTask, next: StoredSchedule, ifVersion: number): Promise<Fire> {
    const { gather, backend } = this.#host;
    const task = await gather.apart(made);
    try {
      if (this.#isStopped) throw new StoppedError();
      if (task.runAt !== undefined) this.#host.due(task.runAt);
      gather.flush();
      const { tickets, accepted } = backend.broker.enqueue([task], {
        ...{ key: SCHEDULE_PREFIX + id, ifVersion },
        value: ([lastTaskId]) => encodeSchedule({ ...next, lastTaskId: lastTaskId! }),
      });
      // Waited for with its slice: until then, nobody else hears of a refusal.
      accepted.catch(() => {});
      return { task, ticket: tickets[0]!, accepted };
    } catch (error) {
      gather.drop([task]);
      throw error;
    }
  }

  async #accepted(slice: readonly Fire[]): Promise<void> {
    await Promise.all(slice.map(({ accepted }) => accepted));
    this.#host.telling.fired(
      slice.map(({ task }) => task),
      slice.map(({ ticket }) => ticket),
    );
  }

  /** The end of the runtime and a fenced store are told elsewhere. */
  #failed(error: unknown, schedule = 'all'): void {
    if (this.#isStopped || error instanceof StoppedError || error instanceof StoreFencedError) return;
    this.#host.options.logger.error({ schedule, error: String(error) }, 'a schedule could not be looked at');
  }
}

function isChanged(before: StoredSchedule['state'], after: StoredSchedule['state']): boolean {
  return before.since !== after.since || before.ended !== after.ended || before.error !== after.error;
}
