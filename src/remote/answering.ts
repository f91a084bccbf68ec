/** What the owner does for one client, verb by verb. Arguments are checked by the desk that gets them. */
import type { Ticket } from '../broker/broker.js';
import type { Page, TaskFilter } from '../broker/inspect.js';
import { InvalidArgumentError, QueueFullError, UnsupportedError } from '../errors.js';
import type { EventFilter } from '../run/events.js';
import { checkPage, type PageRequest } from '../run/filters.js';
import type { EncodedTask } from '../run/front.js';
import type { LocalDesk } from '../run/local-desk.js';
import { ID_BYTES, parseId } from '../task/id.js';
import type { AnyLimitRule, LimitScope } from '../task/limit-rule.js';
import { storeError } from '../task/stored-error.js';
import { BatchInParts } from './batch-in-parts.js';
import type { Connection } from './connection.js';
import { FlowAnswering } from './flows/answering.js';
import { type SentView, sentEvent, sentView } from './forms.js';
import {
  type Call,
  IDS_PER_MESSAGE,
  MAX_TASKS_PER_CALL,
  type Placed,
  type Verb,
  type Verbs,
} from './protocol.js';

/** `later`: a part was taken, the answer follows the last one. `none`: it was answered before. */
export type Answer = { readonly value: unknown } | 'later' | 'none';

/** Batches of one client that are under way, those of them that are staged, and bytes kept of the others. */
const MAX_BATCHES = 16;
const MAX_STAGED = 4;
const MAX_KEPT_BYTES = 64 * 1024 * 1024;

/** A page of a list is put together from so many tasks at a time, and ends at about so many bytes. */
const LISTED_AT_ONCE = 50;
const MAX_LISTED_BYTES = 8 * 1024 * 1024;

type Answers = {
  readonly [Name in Exclude<Verb, 'flow'>]: (args: Verbs[Name], call: number) => Promise<unknown>;
};

export class Answering {
  readonly #desk: LocalDesk;
  readonly #connection: Connection;
  /** Parts of batches that have arrived, by call. */
  readonly #parts = new Map<number, BatchInParts | 'refused'>();
  /** What ends listening, by call. */
  readonly #listening = new Map<number, () => void>();
  /** What ends the wait of tasks for room, by call; of a batch from its last part on. */
  readonly #waiting = new Map<number, AbortController>();
  readonly #answers: Answers;
  readonly #flows: FlowAnswering;
  #lastRead: Promise<void> = Promise.resolve();

  constructor(desk: LocalDesk, connection: Connection) {
    this.#desk = desk;
    this.#connection = connection;
    this.#answers = {
      enqueue: ({ tasks }, call) => this.#enqueue(tasks, call),
      batch: (args, call) => this.#batch(args, call),
      settled: async ({ id }) => {
        const { state, result, reason, error } = await desk.settled(id);
        return { id, state, result, reason, error };
      },
      state: ({ id }) => desk.state(id),
      get: ({ id }) => this.#inTurn(() => this.#get(id)),
      list: ({ filter, page }) =>
        this.#inTurn(() =>
          this.#pageOf(page as PageRequest, (part) => desk.list(filter as TaskFilter, part)),
        ),
      counts: () => desk.counts(),
      cancel: ({ what }) => desk.cancel(what as string),
      redrive: ({ what }) => desk.redrive(what as string),
      delete: ({ what }) => desk.delete(what as string),
      pause: ({ queue, isPaused }) => desk.setPaused(queue, isPaused === true),
      setLimit: ({ scope, rule }) => desk.setLimit(scope as LimitScope, rule as AnyLimitRule),
      removeLimit: ({ scope }) => desk.removeLimit(scope as LimitScope),
      listLimits: () => desk.listLimits(),
      resize: ({ threads }) => desk.resize(threads),
      idle: () => desk.whenIdle(),
      schedule: (given) => desk.schedules.accept(given),
      getSchedule: ({ id }) => desk.schedules.get(id),
      listSchedules: ({ page }) => this.#inTurn(() => desk.schedules.list(page as PageRequest)),
      pauseSchedule: ({ id, isPaused }) => desk.schedules.setPaused(id, isPaused === true),
      deleteSchedule: ({ id }) => desk.schedules.delete(id),
      runSchedule: async ({ id: scheduleId }) => {
        const { id, isNew } = await desk.schedules.runNow(scheduleId);
        return { id, isNew };
      },
      events: ({ filter }, call) => this.#listen(filter as EventFilter, call),
      flowGet: ({ id }) => desk.flows.get(id),
      flowList: ({ page }) => desk.flows.list(page as PageRequest),
      flowTasks: ({ id, page }) =>
        this.#inTurn(() => this.#pageOf(page as PageRequest, (part) => desk.flows.tasks(id, part))),
      flowSettled: ({ id }) => desk.flows.settled(id),
      flowCancel: ({ id }) => desk.flows.cancel(id),
      flowRedrive: ({ id }) => desk.flows.redrive(id),
      flowDelete: ({ id }) => desk.flows.delete(id),
    };
    this.#flows = new FlowAnswering(desk, connection, taskOf);
  }

  /** @throws (rejects) what the desk throws, or {UnsupportedError} for a verb of another version. */
  async answer(call: Call): Promise<Answer> {
    if (call.verb === 'flow') return this.#flows.take(call, call.call);
    if (!Object.hasOwn(this.#answers, call.verb)) {
      throw new UnsupportedError(`call "${call.verb}"`, 'the owner is of another version');
    }
    const value = await this.#answers[call.verb](call as never, call.call);
    if (value === LATER) return 'later';
    return value === NOBODY ? 'none' : { value };
  }

  /** Whether a batch or flow under this number waits for its further parts. */
  hasParts({ call, verb }: Call): boolean {
    if (verb === 'flow') return this.#flows.hasParts(call);
    return verb === 'batch' && this.#parts.has(call);
  }

  /** The client wants nothing more of this call. @returns whether it ends without an answer. */
  end(call: number): boolean {
    this.#listening.get(call)?.();
    this.#waiting.get(call)?.abort();
    // It is answered then.
    if (this.#waiting.has(call)) return false;
    const batch = this.#parts.get(call);
    if (batch instanceof BatchInParts) batch.drop().catch(() => {});
    return this.#parts.delete(call) || this.#flows.end(call);
  }

  close(): void {
    this.#flows.close();
    for (const call of [...this.#parts.keys()]) this.end(call);
    for (const end of this.#listening.values()) end();
    for (const controller of this.#waiting.values()) controller.abort();
  }

  /** What is read from the store for a client is read when it has taken most of what was read before. */
  #inTurn<Value>(read: () => Promise<Value>): Promise<Value> {
    const done = this.#lastRead.then(() => this.#connection.drained()).then(read);
    this.#lastRead = done.then(
      () => {},
      () => {},
    );
    return done;
  }

  async #get(id: string): Promise<SentView | undefined> {
    const view = await this.#desk.get(id);
    return view === undefined ? undefined : sentView(view);
  }

  /** A page may be short: what it holds has to fit into one message. */
  async #pageOf(
    page: PageRequest,
    list: (part: PageRequest) => Promise<Page>,
  ): Promise<{ tasks: SentView[]; after?: string }> {
    const { limit, after: from } = checkPage(page);
    const tasks: SentView[] = [];
    let bytes = 0;
    let after = from;
    do {
      const part = { limit: Math.min(limit - tasks.length, LISTED_AT_ONCE) };
      const found = await list(after === undefined ? part : { ...part, after });
      for (const view of found.tasks) {
        bytes += (view.body?.length ?? 0) + (view.result?.length ?? 0);
        tasks.push(sentView(view));
      }
      after = found.after;
    } while (after !== undefined && tasks.length < limit && bytes < MAX_LISTED_BYTES);
    return after === undefined ? { tasks } : { tasks, after };
  }

  async #enqueue(tasks: readonly EncodedTask[], call: number): Promise<Placed[]> {
    if (!Array.isArray(tasks) || tasks.length > MAX_TASKS_PER_CALL) {
      throw new InvalidArgumentError('tasks', `an array of at most ${MAX_TASKS_PER_CALL}`);
    }
    const [only] = tasks;
    const mayWait = tasks.length === 1 && only?.options?.whenFull === 'wait';
    const placed = await (mayWait
      ? Promise.allSettled([this.#whileWaiting(call, (signal) => this.#desk.accept(taskOf(only), signal))])
      : Promise.allSettled(tasks.map(async (task) => this.#desk.accept(taskOf(task)))));
    return placed.map((each) => {
      if (each.status === 'rejected') return { error: storeError(each.reason) };
      const { id, isNew } = each.value;
      return { id, isNew };
    });
  }

  /** Its wait for room ends when the client wants no more of the call. */
  async #whileWaiting<Result>(
    call: number,
    accept: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const controller = new AbortController();
    this.#waiting.set(call, controller);
    try {
      return await accept(controller.signal);
    } finally {
      this.#waiting.delete(call);
    }
  }

  async #batch({ tasks, more }: Verbs['batch'], call: number): Promise<unknown> {
    const batch = this.#parts.get(call) ?? new BatchInParts(this.#desk, () => this.#checkRoom());
    // Refused: what else of it was under way is dropped, up to its last part.
    if (batch === 'refused') {
      if (more === true) return LATER;
      this.#parts.delete(call);
      return NOBODY;
    }
    this.#parts.set(call, batch);
    try {
      if (!Array.isArray(tasks)) throw new InvalidArgumentError('batch', 'an array of tasks', tasks);
      if (more === true) {
        this.#checkKept();
        await this.#takePart(batch, tasks.map(taskOf));
        return LATER;
      }
      const tickets = await this.#whileWaiting(call, async (signal) => {
        await this.#takePart(batch, tasks.map(taskOf));
        return batch.accept(signal);
      });
      this.#parts.delete(call);
      if (batch.isStaged) return await this.#sendIds(tickets, call);
      return tickets.map(({ id, isNew }): Placed => ({ id, isNew }));
    } catch (error) {
      if (more === true && this.#parts.get(call) === batch) this.#parts.set(call, 'refused');
      else if (more !== true) this.#parts.delete(call);
      await batch.drop();
      throw error;
    }
  }

  /** The owner stages few batches at once: one client must not take all of them. */
  #checkRoom(): void {
    let staged = 1;
    for (const batch of this.#parts.values()) if (batch instanceof BatchInParts && batch.isStaged) staged++;
    if (staged > MAX_STAGED) throw new QueueFullError('Batches that this client stages', staged, MAX_STAGED);
  }

  /** @throws {QueueFullError} */
  #checkKept(): void {
    const { size } = this.#parts;
    if (size > MAX_BATCHES) throw new QueueFullError('Batches of this client under way', size, MAX_BATCHES);
    let bytes = 0;
    for (const batch of this.#parts.values()) if (batch !== 'refused') bytes += batch.keptBytes;
    if (bytes > MAX_KEPT_BYTES) {
      throw new QueueFullError('Bytes of batches of this client under way', bytes, MAX_KEPT_BYTES);
    }
  }

  /** While a part waits to be stored, the client waits as well. */
  async #takePart(batch: BatchInParts, part: readonly EncodedTask[]): Promise<void> {
    const taken = batch.take(part);
    if (taken === undefined) return;
    const readAgain = this.#connection.pauseReading();
    try {
      await taken;
    } finally {
      readAgain();
    }
  }

  /** More ids than fit into one message. */
  async #sendIds(tickets: readonly Ticket[], call: number): Promise<{ readonly staged: number }> {
    for (let from = 0; from < tickets.length; from += IDS_PER_MESSAGE) {
      const part = tickets.slice(from, from + IDS_PER_MESSAGE);
      const ids = new Uint8Array(part.length * ID_BYTES);
      for (let at = 0; at < part.length; at++) ids.set(parseId(part[at]!.id)!, at * ID_BYTES);
      this.#connection.send({ kind: 'event', call, event: ids });
      await this.#connection.drained();
      await new Promise(setImmediate);
    }
    return { staged: tickets.length };
  }

  /** Resolves when listening has ended. */
  async #listen(filter: EventFilter, call: number): Promise<void> {
    const events = this.#desk.events(filter);
    this.#listening.set(call, () => void events.return?.());
    try {
      for await (const event of events) {
        this.#connection.send({ kind: 'event', call, event: sentEvent(event) });
        await this.#connection.drained();
      }
    } finally {
      this.#listening.delete(call);
    }
  }
}

const LATER = Symbol('later');
const NOBODY = Symbol('nobody waits');

/** Only what a task may have; its values are checked by the front. */
function taskOf(given: unknown): EncodedTask {
  if (typeof given !== 'object' || given === null) throw new InvalidArgumentError('task', 'an object', given);
  const { name, body, options } = given as EncodedTask;
  return options === undefined ? { name, body } : { name, body, options };
}
