/**
 * The face of a running attempt that its handler sees. Its methods are handed out bound, so that
 * `async (payload, { progress, log }) => …` works; that costs nothing until one is asked for.
 */
import { InvalidArgumentError } from '../src/errors.js';
import type { RemoteServices, Services, Snooze, TaskContext } from '../src/task/define-types.js';
import type { ParentsOptions } from '../src/task/parents.js';
import type { FireOf, TaskId } from '../src/task/task.js';
import type { AttemptRun } from './attempt.js';
import { parentsOf } from './parents.js';

export class HandlerContext implements TaskContext<unknown, Services> {
  readonly #run: AttemptRun;

  constructor(run: AttemptRun) {
    this.#run = run;
  }

  get taskId(): TaskId {
    return this.#run.taskId;
  }

  get name(): string {
    return this.#run.name;
  }

  get attempt(): number {
    return this.#run.attempt;
  }

  get schedule(): FireOf | undefined {
    return this.#run.schedule;
  }

  get signal(): AbortSignal {
    return this.#run.signal;
  }

  get app(): unknown {
    return this.#run.handler.module.app;
  }

  get services(): RemoteServices<Services> {
    return this.#run.batch.session.servicesFor(this.#run) as RemoteServices<Services>;
  }

  get isAborted(): () => boolean {
    const run = this.#run;
    return () => run.isAborted;
  }

  get progress(): (value: unknown) => void {
    const run = this.#run;
    return (value) => run.progress(value);
  }

  get log(): (message: string) => void {
    const run = this.#run;
    return (message) => run.log(message);
  }

  get snooze(): (ms: number) => Snooze {
    const run = this.#run;
    return (ms) => {
      run.snooze(ms);
      // The call decides, not the value: see `TaskContext.snooze`.
      return SNOOZED;
    };
  }

  get transfer(): <Value>(value: Value, list: readonly ArrayBuffer[]) => Value {
    return giveUp;
  }

  get enqueue(): TaskContext['enqueue'] {
    const run = this.#run;
    return ((name: string, payload: unknown, options?: Readonly<Record<string, unknown>>) =>
      run.enqueue(name, payload, options)) as TaskContext['enqueue'];
  }

  get parents(): TaskContext['parents'] {
    const run = this.#run;
    return ((label: string, options?: ParentsOptions) =>
      parentsOf(run, label, options)) as TaskContext['parents'];
  }
}

const SNOOZED = Object.freeze({}) as Snooze;

/**
 * Encoded results above a page's room always move to the host; the list is checked so that a wrong one is
 * found here.
 */
function giveUp<Value>(value: Value, list: readonly ArrayBuffer[]): Value {
  if (!Array.isArray(list) || !list.every((each) => each instanceof ArrayBuffer)) {
    throw new InvalidArgumentError('list', 'an array of ArrayBuffers', list);
  }
  return value;
}
