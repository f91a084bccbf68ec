/**
 * The desk of another process that owns the tasks, over one connection and for as long as that lasts. Checks
 * and encodes here what is put in, so that a bad argument is refused without a word to the owner. Enqueues of
 * one turn travel together, calls are answered in any order.
 */
import { MAX_BATCH_TASKS, type Settled } from '../broker/broker.js';
import { DisconnectedError, QueueFullError, StoppedError } from '../errors.js';
import type { EnqueueOptions } from '../options/types.js';
import type { DeskItem } from '../run/desk.js';
import { EventQueue } from '../run/event-queue.js';
import type { EventFilter, RuntimeEvent } from '../run/events.js';
import { checkBatch, checkEventFilter, checkItem, checkLargeBatch } from '../run/filters.js';
import type { EncodedTask, Front } from '../run/front.js';
import type { Receipt } from '../run/receipt.js';
import type { Codec } from '../task/codec.js';
import { ID_BYTES } from '../task/id.js';
import type { TaskId, WhenFull } from '../task/task.js';
import { Calls, type OpenCall } from './calls.js';
import type { Connection } from './connection.js';
import { frontOf } from './far-front.js';
import { RemoteFlows } from './flows/remote-flows.js';
import { receivedError, receivedEvent } from './forms.js';
import type { OwnersDesk } from './moving-desk.js';
import { MAX_TASKS_PER_CALL, PART_BYTES, type Placed, type Welcome } from './protocol.js';
import { RemoteControl } from './remote-control.js';
import { RemoteSchedules } from './schedules.js';
import { StagedReceipt } from './staged-receipt.js';
import { enqueueWaiting, untilAborted } from './waiting-enqueue.js';

/** Tasks that wait for their acceptance, and their bytes; as a runtime's own bounds are by default. */
const MAX_UNACCEPTED = 100_000;
const MAX_UNACCEPTED_BYTES = 64 * 1024 * 1024;

/** An enqueue on its way, and who is told of it. */
interface Waiting {
  readonly task: EncodedTask;
  placed(receipt: Receipt): void;
  failed(error: unknown): void;
}

export interface RemoteDeskSetup {
  readonly connection: Connection;
  readonly welcome: Welcome;
  readonly codecs: ReadonlyMap<string, Codec>;
  readonly now: () => number;
}

export class RemoteDesk extends RemoteControl implements OwnersDesk {
  readonly schedules: RemoteSchedules = new RemoteSchedules({
    encode: (...task) => this.encode(...task),
    settled: (id) => this.settled(id),
    ask: (...args) => this.ask(...args),
  });
  readonly flows: RemoteFlows;
  readonly #calls: Calls;
  readonly #front: Front;
  readonly #now: () => number;
  readonly #whenFull: WhenFull;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #unaccepted = 0;
  #unacceptedBytes = 0;

  constructor({ connection, welcome, codecs, now }: RemoteDeskSetup) {
    super();
    this.#whenFull = welcome.whenFull ?? 'reject';
    this.#calls = new Calls(connection);
    this.#now = now;
    this.#front = frontOf(welcome, codecs, now);
    const begin = (): OpenCall => {
      this.#flush();
      return this.#calls.begin();
    };
    this.flows = new RemoteFlows({ front: this.#front, begin });
  }

  /** What the owner says; of `connection`. */
  message(message: unknown): void {
    this.#calls.message(message);
  }

  /** The connection has ended: whoever waits is told. */
  closed(): void {
    this.#calls.close(new DisconnectedError());
  }

  encode(name: string, payload: unknown, options: EnqueueOptions | undefined): EncodedTask {
    return this.#front.encode(name, payload, options);
  }

  accept(task: EncodedTask, signal?: AbortSignal): Promise<Receipt> {
    const { whenFull = this.#whenFull } = task.options ?? {};
    if (whenFull === 'wait') return this.#acceptWaiting(task, signal);
    return new Promise((placed, failed) => {
      this.#checkRoom();
      this.#add({ task, placed, failed });
    });
  }

  /** By itself, so that nothing else waits with it. */
  async #acceptWaiting(task: EncodedTask, signal: AbortSignal | undefined): Promise<Receipt> {
    this.#checkRoom();
    this.#flush();
    const { length } = task.body;
    this.#unaccepted++;
    this.#unacceptedBytes += length;
    try {
      const { id, isNew } = await enqueueWaiting(this.#calls.begin(), task, signal);
      return this.#receipt(id, isNew);
    } finally {
      this.#unaccepted--;
      this.#unacceptedBytes -= length;
    }
  }

  async enqueueBatch(batch: readonly DeskItem[]): Promise<readonly Receipt[]> {
    checkBatch(batch);
    if (batch.length === 0) return [];
    if (batch.length > MAX_BATCH_TASKS) checkLargeBatch(batch);
    else batch.forEach(checkItem);
    this.#flush();
    const call = this.#calls.begin();
    // Of more than fit into one message, ids come as bytes before the answer.
    const ids: Uint8Array[] = [];
    call.onEvent((event) => ids.push(event as Uint8Array));
    let signal: AbortSignal | undefined;
    try {
      let part: EncodedTask[] = [];
      let bytes = 0;
      for (let at = 0; at < batch.length && !call.isOver; at++) {
        checkItem(batch[at], at);
        const { name, payload, options } = batch[at]!;
        if (part.length === MAX_TASKS_PER_CALL || bytes > PART_BYTES) {
          call.send('batch', { tasks: part, more: true });
          await call.drained();
          // This process has other things to do as well.
          await new Promise(setImmediate);
          part = [];
          bytes = 0;
        }
        const task = this.#front.encode(name, payload, options);
        part.push(task);
        options?.signal?.throwIfAborted();
        signal ??= options?.signal;
        bytes += task.body.length;
      }
      if (call.isOver) call.drop();
      else call.send('batch', { tasks: part });
    } catch (error) {
      call.drop();
      throw error;
    }
    const placed = (await untilAborted(call, signal)) as
      | readonly { readonly id: string; readonly isNew: boolean }[]
      | { readonly staged: number };
    if ('staged' in placed) return this.#staged(ids);
    return placed.map(({ id, isNew }) => this.#receipt(id, isNew));
  }

  async #staged(parts: readonly Uint8Array[]): Promise<Receipt[]> {
    const receipts: Receipt[] = [];
    for (const ids of parts) {
      for (let at = 0; at < ids.length; at += ID_BYTES) receipts.push(new StagedReceipt(ids, at, this));
      await new Promise(setImmediate);
    }
    return receipts;
  }

  settled(id: TaskId): Promise<Settled> {
    return this.ask('settled', { id }) as Promise<Settled>;
  }

  events(filter: EventFilter): AsyncIterableIterator<RuntimeEvent> {
    const checked = checkEventFilter(filter);
    this.#flush();
    const events = new EventQueue(checked.bound, this.#now);
    const call = this.#calls.begin();
    const close = (): void => events.close();
    call.onEvent((event) => events.push(receivedEvent(event)));
    call.answer.then(close, close);
    call.send('events', { filter: checked });
    return events.read(() => call.drop());
  }

  /** After what was enqueued before in the same turn. */
  async ask(...[verb, args]: Parameters<ReturnType<Calls['begin']>['send']>): Promise<unknown> {
    this.#flush();
    const call = this.#calls.begin();
    call.send(verb, args);
    return call.answer;
  }

  #checkRoom(): void {
    if (this.#calls.isClosed) throw new StoppedError('The owner of the tasks');
    if (this.#unaccepted >= MAX_UNACCEPTED) {
      throw new QueueFullError('Tasks that wait for their acceptance', this.#unaccepted, MAX_UNACCEPTED);
    }
    if (this.#unacceptedBytes >= MAX_UNACCEPTED_BYTES) {
      const bytes = this.#unacceptedBytes;
      throw new QueueFullError('Bytes that wait for their acceptance', bytes, MAX_UNACCEPTED_BYTES);
    }
  }

  #add(waiting: Waiting): void {
    const { length } = waiting.task.body;
    this.#unaccepted++;
    this.#unacceptedBytes += length;
    this.#waitingBytes += length;
    if (this.#waiting.push(waiting) === 1) queueMicrotask(() => this.#flush());
    else if (this.#waiting.length === MAX_TASKS_PER_CALL || this.#waitingBytes > PART_BYTES) this.#flush();
  }

  #flush(): void {
    const sent = this.#waiting;
    if (sent.length === 0) return;
    const bytes = this.#waitingBytes;
    this.#waiting = [];
    this.#waitingBytes = 0;
    const call = this.#calls.begin();
    call.send('enqueue', { tasks: sent.map(({ task }) => task) });
    call.answer
      .then(
        (placed) => this.#placed(sent, placed as readonly Placed[]),
        (error) => sent.forEach((waiting) => void waiting.failed(error)),
      )
      .finally(() => {
        this.#unaccepted -= sent.length;
        this.#unacceptedBytes -= bytes;
      });
  }

  #placed(sent: readonly Waiting[], placed: readonly Placed[]): void {
    for (const [at, waiting] of sent.entries()) {
      const each = placed[at]!;
      if ('error' in each) waiting.failed(receivedError(each.error));
      else waiting.placed(this.#receipt(each.id, each.isNew));
    }
  }

  #receipt(id: TaskId, isNew: boolean): Receipt {
    return { id, isNew, settled: () => this.settled(id) };
  }
}
