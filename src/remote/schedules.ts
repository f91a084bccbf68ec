/** Schedules, asked of another process that owns them; a part of `RemoteDesk` and of `MovingDesk`. */

import { checkPage, type PageRequest } from '../run/filters.js';
import type { Receipt } from '../run/receipt.js';
import type {
  ScheduleCall,
  ScheduleDesk,
  SchedulePage,
  ScheduleView,
  SetSchedule,
} from '../run/schedules/desk.js';
import { checkRule, checkSchedule } from '../run/schedules/request.js';
import type { TaskId } from '../task/task.js';
import type { OpenCall } from './calls.js';
import type { OwnersDesk } from './moving-desk.js';
import type { Placed } from './protocol.js';
import { ownCopy } from './snapshot.js';

/** What is needed of the connection. */
export interface RemoteHost {
  encode: OwnersDesk['encode'];
  settled: OwnersDesk['settled'];
  ask(...args: Parameters<OpenCall['send']>): Promise<unknown>;
}

export class RemoteSchedules implements ScheduleDesk {
  readonly #host: RemoteHost;

  constructor(host: RemoteHost) {
    this.#host = host;
  }

  async set({ payload, ...given }: ScheduleCall): Promise<SetSchedule> {
    const checked = checkSchedule(given);
    const { id, rule, plan, options } = checked;
    const { body } = this.#host.encode(given.name, payload, options);
    await checkRule(checked);
    const sent = { id, rule, name: given.name, body, options: { ...plan, ...options } };
    return this.#host.ask('schedule', sent) as Promise<SetSchedule>;
  }

  get(id: string): Promise<ScheduleView | undefined> {
    return this.#host.ask('getSchedule', { id }) as Promise<ScheduleView | undefined>;
  }

  async list(page: PageRequest): Promise<SchedulePage> {
    return this.#host.ask('listSchedules', { page: checkPage(page) }) as Promise<SchedulePage>;
  }

  async setPaused(id: string, isPaused: boolean): Promise<void> {
    await this.#host.ask('pauseSchedule', { id, isPaused });
  }

  delete(id: string): Promise<boolean> {
    return this.#host.ask('deleteSchedule', { id }) as Promise<boolean>;
  }

  async runNow(id: string): Promise<Receipt> {
    const placed = (await this.#host.ask('runSchedule', { id })) as Exclude<Placed, { error: unknown }>;
    return { ...placed, settled: () => this.#host.settled(placed.id) };
  }
}

/** What is needed of the desk that knows where the owner is. */
export interface MovingHost {
  settled(id: TaskId): ReturnType<Receipt['settled']>;
  ask<Value>(question: (desk: OwnersDesk) => Promise<Value>, times: 'once' | 'again'): Promise<Value>;
}

/** To schedule, pause and resume can be asked for twice; a fire by hand and a deletion are asked for once. */
export class MovingSchedules implements ScheduleDesk {
  readonly #host: MovingHost;

  constructor(host: MovingHost) {
    this.#host = host;
  }

  async set(call: ScheduleCall): Promise<SetSchedule> {
    // What the caller does to its objects later is no matter, and it may be asked for again.
    const { id, rule, plan, options } = checkSchedule(call);
    const { payload } = ownCopy(call.payload, undefined);
    const own = { id, rule, name: call.name, payload, options: { ...plan, ...options } };
    return this.#host.ask((desk) => desk.schedules.set(own), 'again');
  }

  get(id: string): Promise<ScheduleView | undefined> {
    return this.#host.ask((desk) => desk.schedules.get(id), 'again');
  }

  list(page: PageRequest): Promise<SchedulePage> {
    return this.#host.ask((desk) => desk.schedules.list(page), 'again');
  }

  setPaused(id: string, isPaused: boolean): Promise<void> {
    return this.#host.ask((desk) => desk.schedules.setPaused(id, isPaused), 'again');
  }

  delete(id: string): Promise<boolean> {
    return this.#host.ask((desk) => desk.schedules.delete(id), 'once');
  }

  async runNow(id: string): Promise<Receipt> {
    const { id: taskId, isNew } = await this.#host.ask((desk) => desk.schedules.runNow(id), 'once');
    return { id: taskId, isNew, settled: () => this.#host.settled(taskId) };
  }
}
