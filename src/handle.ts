/**
 * A handle on one task: an id with verbs. A promise for its result exists only once `result()` was called.
 */
import type { Settled } from './broker/broker.js';
import { TaskCancelledError, TaskDeadError } from './errors.js';
import type { ResultOptions } from './options/types.js';
import { validateResultOptions } from './options.js';
import type { Desk } from './run/desk.js';
import type { RuntimeEvent } from './run/events.js';
import type { Receipt } from './run/receipt.js';
import { within } from './run/within.js';
import { type Codec, decodeValue } from './task/codec.js';
import { reviveError } from './task/stored-error.js';
import type { TaskId, TaskState } from './task/task.js';

/** What a handle needs of the runtime or client that it came from. */
export interface HandleHost {
  readonly codecs: ReadonlyMap<string, Codec>;
  readonly desk: Desk;
}

/** One accepted task: await its result, ask for its state, follow or cancel it. */
export class Handle<Result = unknown> {
  readonly #receipt: Receipt;
  readonly #host: HandleHost;
  #id: TaskId | undefined;

  constructor(receipt: Receipt, host: HandleHost) {
    this.#receipt = receipt;
    this.#host = host;
  }

  /** 26 characters of `[0-9a-v]`; valid in every process that opens the same backend. */
  get id(): TaskId {
    this.#id ??= this.#receipt.id;
    return this.#id;
  }

  /** False when a unique key led to a task that was there before. */
  get isNew(): boolean {
    return this.#receipt.isNew;
  }

  /**
   * The value the handler returned, read from what is stored: also after a restart, and not missed when the
   * task was settled before the call.
   * @throws {TaskDeadError} with the last attempt's error as its `cause` · {@link TaskCancelledError}
   * @throws {ResultExpiredError} when it is no longer kept · {@link UnknownTaskError}
   * @throws {WaitTimeoutError} after `timeoutMs`; the task goes on. An abort of `signal` rejects with its
   * reason.
   */
  async result(options?: ResultOptions): Promise<Result> {
    const settled = this.#receipt.settled();
    if (options === undefined) return resultOf(await settled, this.#host.codecs);
    const { timeoutMs, signal } = validateResultOptions(options, 'options');
    return resultOf(await within(settled, `Task ${this.id}`, timeoutMs, signal), this.#host.codecs);
  }

  /** @throws {UnknownTaskError} {@link ResultExpiredError} */
  state(): Promise<TaskState> {
    return this.#host.desk.state(this.id);
  }

  /** Cancels the task in whatever state it is; false when it was final already. */
  async cancel(): Promise<boolean> {
    return (await this.#host.desk.cancel(this.id)) > 0;
  }

  /** What happens to this task from now on. */
  events(): AsyncIterableIterator<RuntimeEvent> {
    return this.#host.desk.events({ taskId: this.id });
  }
}

/** The decoded result of a completed task. @throws {TaskDeadError} {@link TaskCancelledError} */
export function resultOf<Result>(settled: Settled, codecs: ReadonlyMap<string, Codec>): Result {
  switch (settled.state) {
    case 'completed':
      return (settled.result === undefined ? undefined : decodeValue(settled.result, codecs)) as Result;
    case 'cancelled':
      throw new TaskCancelledError(settled.id, settled.reason ?? 'cancelled');
    case 'dead': {
      const cause = settled.error === undefined ? undefined : { cause: reviveError(settled.error) };
      throw new TaskDeadError(settled.id, settled.reason ?? 'failed', cause);
    }
  }
}
