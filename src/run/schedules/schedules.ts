/** What callers do with schedules: each is a fact in the store, changed by compare-and-set. */
import type { KeyValue } from '../../broker/key-value.js';
import { FactChangedError, TooLargeError, UnknownScheduleError } from '../../errors.js';
import { checkName } from '../../options.js';
import type { Coordinator } from '../coordinator.js';
import type { DeskParts } from '../desk-parts.js';
import { checkPage, type PageRequest } from '../filters.js';
import type { EncodedTask } from '../front.js';
import type { Receipt } from '../receipt.js';
import type {
  ScheduleCall,
  ScheduleDesk,
  SchedulePage,
  ScheduleView,
  SentSchedule,
  SetSchedule,
} from './desk.js';
import {
  decodeSchedule,
  encodeSchedule,
  isSameDefinition,
  redefined,
  SCHEDULE_PREFIX,
  SCHEDULES_PER_READ,
  type StoredSchedule,
} from './fact.js';
import { type CheckedSchedule, checkRule, checkSchedule } from './request.js';

/** A payload is written with each fire. */
const MAX_PAYLOAD_BYTES = 262_144;
const SHOWN_FIRES = 5;
const MAX_TRIES = 100;

export class LocalSchedules implements ScheduleDesk {
  readonly #parts: DeskParts;
  readonly #keyValue: KeyValue;
  readonly #coordinator: Coordinator;

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.#keyValue = parts.backend.keyValue;
    this.#coordinator = parts.coordinator;
  }

  async set({ payload, ...given }: ScheduleCall): Promise<SetSchedule> {
    this.#coordinator.checkOpen();
    const checked = checkSchedule(given);
    const { body } = this.#coordinator.front.encode(given.name, payload, checked.options);
    return this.#accept(checked, given.name, body);
  }

  /** A schedule whose payload is encoded; nothing of it is believed. @throws (rejects) as `set` */
  async accept(given: SentSchedule): Promise<SetSchedule> {
    return this.#accept(checkSchedule(given), given.name, given.body);
  }

  async #accept(checked: CheckedSchedule, name: string, encoded: Uint8Array): Promise<SetSchedule> {
    const { id, rule, plan, options } = checked;
    await checkRule(checked, this.#parts.isCaretaker === true ? undefined : this.#parts.options.calendars);
    // What the host's schema puts out is what is stored.
    const { body } = await this.#coordinator.front.fromClient({ name, body: encoded, options });
    if (body.length > MAX_PAYLOAD_BYTES) {
      throw new TooLargeError('payload of a schedule', body.length, MAX_PAYLOAD_BYTES);
    }
    const task = Object.keys(options).length === 0 ? { name, body } : { name, body, options };
    const now = this.#parts.options.clock.now();
    const [stored, before] = await this.#change(id, (was) => {
      const definition = { rule, plan, task };
      return was !== undefined && isSameDefinition(was, definition) ? was : redefined(definition, was, now);
    });
    // It may have fired and ended by now.
    const looked = (await this.#read(id))?.schedule ?? stored;
    return { isNew: before === undefined, view: await this.#view(id, looked) };
  }

  async get(id: string): Promise<ScheduleView | undefined> {
    const found = await this.#read(id);
    return found === undefined ? undefined : this.#view(id, found.schedule);
  }

  async list(page: PageRequest): Promise<SchedulePage> {
    const { limit, after } = checkPage(page);
    const schedules: ScheduleView[] = [];
    let last = after;
    while (schedules.length < limit) {
      this.#coordinator.checkReachable();
      const most = Math.min(limit - schedules.length, SCHEDULES_PER_READ);
      const from = last === undefined ? undefined : SCHEDULE_PREFIX + last;
      const read = await this.#keyValue.list(SCHEDULE_PREFIX, most, from);
      for (const { key, fact } of read) {
        last = key.slice(SCHEDULE_PREFIX.length);
        const { body: _body, ...view } = await this.#view(last, decodeSchedule(fact.value));
        schedules.push(view);
      }
      if (read.length < most) return { schedules };
      await new Promise(setImmediate);
    }
    return { schedules, after: last! };
  }

  async setPaused(id: string, isPaused: boolean): Promise<void> {
    const now = this.#parts.options.clock.now();
    await this.#change(id, (before) => {
      if (before === undefined) throw new UnknownScheduleError(id);
      const { pausedAt, ...state } = before.state;
      if ((pausedAt !== undefined) === isPaused) return before;
      if (isPaused) return { ...before, state: { ...state, pausedAt: now } };
      // What fell into the pause was not to be.
      return { ...before, state: { ...state, since: Math.max(state.since, now) } };
    });
  }

  async delete(id: string): Promise<boolean> {
    this.#coordinator.checkReachable();
    return this.#keyValue.delete(SCHEDULE_PREFIX + checkName('schedule', id));
  }

  async runNow(id: string): Promise<Receipt> {
    this.#coordinator.checkOpen();
    const found = await this.#read(id);
    if (found === undefined) throw new UnknownScheduleError(id);
    const { front, gather, promoter, telling } = this.#coordinator;
    const fireAt = this.#parts.options.clock.now();
    const task = front.fromSchedule(found.schedule.task, { id, fireAt });
    if (task.runAt !== undefined) promoter.due(task.runAt);
    const ticket = await gather.enqueue(task);
    telling.enqueued([ticket], [task]);
    return ticket;
  }

  /** @throws (rejects) {InvalidNameError} {@link StoppedError} */
  async #read(id: string): Promise<{ schedule: StoredSchedule; version: number } | undefined> {
    this.#coordinator.checkReachable();
    const fact = await this.#keyValue.get(SCHEDULE_PREFIX + checkName('schedule', id));
    return fact === undefined ? undefined : { schedule: decodeSchedule(fact.value), version: fact.version };
  }

  /**
   * Stores what `change` makes of the schedule, again when another one changed it meanwhile.
   * @returns what is stored now, and what was there before.
   */
  async #change(
    id: string,
    change: (before: StoredSchedule | undefined) => StoredSchedule,
  ): Promise<readonly [StoredSchedule, StoredSchedule | undefined]> {
    const key = SCHEDULE_PREFIX + id;
    for (let tries = 1; ; tries++) {
      const found = await this.#read(id);
      const before = found?.schedule;
      if (before === undefined) await this.#coordinator.scheduler.looked(id);
      const after = change(before);
      if (after === before) return [after, before];
      const version = found?.version ?? 0;
      const stored = await this.#keyValue.put(key, encodeSchedule(after), { ifVersion: version });
      if (stored !== undefined) {
        await this.#coordinator.scheduler.changed(id);
        return [after, before];
      }
      if (tries >= MAX_TRIES) throw new FactChangedError(key, version, version + 1);
    }
  }

  async #view(id: string, stored: StoredSchedule): Promise<ScheduleView> {
    const [{ upcoming }, { storedOccurrences }] = await Promise.all([
      import('../../schedule/decide.js'),
      import('../../schedule/occurrences.js'),
    ]);
    const { clock, calendars } = this.#parts.options;
    const { rule, plan, task, state, createdAt, changedAt, lastTaskId } = stored;
    const { since: _since, ...course } = state;
    const { name, body, options } = task;
    const isPaused = state.pausedAt !== undefined;
    return {
      ...{ id, rule, plan, name, createdAt, changedAt, ...course },
      state: state.ended !== undefined ? 'ended' : isPaused ? 'paused' : 'active',
      ...(options === undefined ? {} : { options }),
      ...(this.#isSensitive(task) ? {} : { body }),
      ...(lastTaskId === undefined ? {} : { lastTaskId }),
      nextFires: upcoming(storedOccurrences(rule, id, calendars), plan, state, clock.now(), SHOWN_FIRES),
    };
  }

  #isSensitive({ name, options }: EncodedTask): boolean {
    const { registry } = this.#coordinator;
    const { definition, home } = registry.entry(name);
    const queue = registry.queue(options?.queue ?? home.queue);
    return options?.sensitive ?? definition?.sensitive ?? queue.defaults.sensitive ?? false;
  }
}
