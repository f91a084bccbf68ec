/**
 * The loops around one backend and one pool, wired together: what comes in (`Gather`, `Front`), what goes out
 * to threads (`Dispatcher`, `Executor`), what time brings (`Promoter`, `Pruner`), and who is told (`Events`,
 * `Idle`).
 */
import type { Backend, Claim, Settlement } from '../broker/broker.js';
import type { Counts } from '../broker/inspect.js';
import { StoppedError } from '../errors.js';
import type { RuntimeOptions } from '../options/types.js';
import type { HandlerInfo, ItemExtras, Pool, ThreadEvent } from '../pool/pool.js';
import type { Codec } from '../task/codec.js';
import type { ParentsPage, ParentsRequest } from '../task/parents.js';
import type { NewTask, TaskId, TaskView } from '../task/task.js';
import { Dispatcher } from './dispatcher.js';
import { Events } from './events.js';
import { Executor, type ExecutorHost } from './executor.js';
import { listenToFlows } from './flows/listening.js';
import { readParents } from './flows/parents.js';
import { Front } from './front.js';
import { Gather } from './gather.js';
import { Idle } from './idle.js';
import { Limiting } from './limiting.js';
import { paceOf } from './pace.js';
import { openPressure } from './pressing.js';
import type { Pressure } from './pressure/pressure.js';
import { Promoter } from './promoter.js';
import { Pruner } from './pruner.js';
import { Registry } from './registry.js';
import type { RunningBatch, RunningItem } from './running-item.js';
import { Scheduler } from './schedules/scheduler.js';
import { Telling } from './telling.js';

export interface CoordinatorOptions {
  readonly backend: Backend;
  readonly pool: Pool<RunningItem>;
  readonly options: RuntimeOptions;
  readonly codecs: ReadonlyMap<string, Codec>;
  readonly runsNothing: boolean;
  /** Uniform in [0, 1); default `Math.random`. */
  readonly random?: () => number;
}

export class Coordinator implements ExecutorHost {
  readonly broker: Backend['broker'];
  readonly clock: RuntimeOptions['clock'];
  readonly random: () => number;
  readonly registry: Registry;
  readonly limiting: Limiting;
  readonly front: Front;
  readonly gather: Gather;
  readonly pressure: Pressure;
  readonly events = new Events();
  readonly telling: Telling;
  readonly idle: Idle;
  readonly executor: Executor;
  readonly promoter: Promoter;
  readonly pruner: Pruner;
  readonly scheduler: Scheduler;
  readonly #dispatcher: Dispatcher;
  readonly #backend: Backend;
  readonly #pool: Pool<RunningItem>;
  /** Tasks settled, and given back by threads, since `stop` began. */
  settledCount = 0;
  releasedCount = 0;
  #isStarted = false;
  #isStopped = false;
  #fence: Error | undefined;
  #isClosed = false;

  constructor({ backend, pool, options, codecs, runsNothing, random = Math.random }: CoordinatorOptions) {
    this.#backend = backend;
    this.broker = backend.broker;
    this.random = random;
    this.clock = options.clock;
    this.#pool = pool;
    this.telling = new Telling(this.events, options);
    this.registry = new Registry(options);
    const { broker, keyValue } = backend;
    this.limiting = new Limiting(
      {
        wake: () => this.#dispatcher.wake(),
        recallAll: () => this.#dispatcher.recallWhere(() => true),
        running: () => this.executor.claims(),
      },
      { broker, keyValue, registry: this.registry, options },
    );
    this.front = new Front({
      registry: this.registry,
      limiting: this.limiting,
      codecs,
      limits: { maxBytes: options.maxPayloadBytes, maxBufferBytes: options.maxBufferBytes },
      now: () => this.clock.now(),
      keepsTransfers: backend.broker.lacks.transfer === undefined,
      runsNothing,
    });
    this.pressure = openPressure(this, options);
    this.gather = new Gather(this.broker, backend.blobs, this.pressure);
    const counts = (): Counts => backend.inspect?.counts() ?? new Map();
    const serves = (queue: string): boolean => options.serve?.includes(queue) ?? true;
    this.idle = new Idle(counts, serves, () => this.executor.handedCount > 0);
    this.executor = new Executor(this);
    const dispatcherHost = {
      parked: () => this.idle.look(),
      failed: (error: unknown) =>
        options.logger.error({ error: String(error) }, 'tasks could not be claimed'),
    };
    const { clock, executor, registry, limiting } = this;
    this.#dispatcher = new Dispatcher(dispatcherHost, broker, pool, executor, registry, limiting, clock);
    this.promoter = new Promoter(this.broker, this.clock);
    this.pruner = new Pruner(this.broker, this.clock);
    const { front, gather, telling, events, idle, promoter } = this;
    const due = (at: number): void => promoter.due(at);
    this.scheduler = new Scheduler({ backend, options, front, gather, telling, due });
    if (backend.flows !== undefined) {
      listenToFlows(backend.flows, { events, idle, promoter, now: () => clock.now() });
    }
    this.broker.onReady(() => {
      // A round that resumes lines looks at them itself.
      if (!limiting.isResuming) this.#dispatcher.wake();
    });
    this.broker.onFenced((error) => this.#fenced(error));
    this.broker.pace(() => paceOf(executor, pool, broker, clock));
  }

  /** Tasks may start from now on; idempotent. */
  start(): void {
    if (this.#isStarted || this.#isStopped) return;
    this.#isStarted = true;
    this.promoter.start();
    this.pruner.start();
    this.scheduler.start();
    this.#dispatcher.start();
  }

  /** Handlers became known: names that waited aside may run. */
  handlersChanged(): void {
    this.setHandlers(this.#pool.handlers);
    this.#dispatcher.wake();
  }

  /** Handlers as the last run has left them, or as threads have told. */
  setHandlers(handlers: readonly HandlerInfo[]): void {
    this.registry.setHandlers(handlers);
    this.limiting.handlersChanged();
  }

  setPaused(queue: string, isPaused: boolean): void {
    const rule = this.registry.queue(queue);
    if (rule.isPaused === isPaused) return;
    rule.isPaused = isPaused;
    if (isPaused) this.#dispatcher.recallWhere((item) => item.claim.queue === queue);
    else this.#dispatcher.wake();
    this.telling.paused(queue, isPaused);
  }

  /** Threads give back what they have not started of these. */
  recall(wanted: (item: RunningItem) => boolean): void {
    this.#dispatcher.recallWhere(wanted);
  }

  /** No task starts from now on; those that threads have not started come back. */
  stopStarting(): void {
    this.#isStopped = true;
    this.#dispatcher.stop();
    this.promoter.stop();
    this.pruner.stop();
    this.scheduler.stop();
    this.pressure.end(this.#fence ?? new StoppedError());
  }

  /** Resolves when no task is on a thread. */
  async whenQuiet(): Promise<void> {
    while (this.executor.handedCount > 0) await new Promise<void>((tell) => this.#awaitQuiet.push(tell));
  }
  readonly #awaitQuiet: (() => void)[] = [];

  #lookQuiet(): void {
    while (this.executor.handedCount === 0 && this.#awaitQuiet.length > 0) this.#awaitQuiet.pop()!();
  }

  /** Nothing is left to do, and all of that is flushed: nothing would run again after a crash. */
  async whenIdle(): Promise<void> {
    this.gather.flush();
    await this.idle.whenIdle();
    if (!this.#isClosed) await this.broker.settle([]);
  }

  /** Nothing new comes in once `stop` was called. @throws {StoppedError} */
  checkOpen(): void {
    if (this.#fence !== undefined) throw this.#fence;
    if (this.#isStopped) throw new StoppedError();
  }

  /** What is stored can be read and changed until the backend is closed. @throws {StoppedError} */
  checkReachable(): void {
    if (this.#isClosed) throw new StoppedError();
  }

  /** The backend is about to be closed: it is not asked any more. */
  closing(): void {
    this.#isClosed = true;
    this.executor.notes.stop();
  }

  /** The backend is closed: nothing happens any more. */
  closed(): void {
    this.idle.release();
    this.events.close();
  }

  // What the executor asks of its host.

  ready(): void {
    this.#lookQuiet();
    this.#dispatcher.wake();
  }

  due(at: number): void {
    this.promoter.due(at);
  }

  prepare(request: NonNullable<ItemExtras['enqueue']>[number], parent: Claim): NewTask {
    const task = this.front.fromHandler(request, parent.id);
    if (task.runAt !== undefined) this.promoter.due(task.runAt);
    return task;
  }

  isLarge(body: Uint8Array): boolean {
    return this.gather.isLarge({ body });
  }

  /** A settlement is not refused because its enqueues are large: then they are stored with it as they are. */
  async keepApart(body: Uint8Array): Promise<Uint8Array> {
    try {
      return (await this.gather.apart({ body })).body;
    } catch {
      return body;
    }
  }

  drop(body: Uint8Array): void {
    this.gather.drop([{ body }]);
  }

  async enqueueNow(task: NewTask): Promise<TaskId> {
    return (await this.gather.enqueue(task)).id;
  }

  parents(claim: Claim, request: ParentsRequest): Promise<ParentsPage> {
    return readParents(this.#backend, claim, request);
  }

  handed(running: RunningBatch): void {
    this.telling.handed(running);
  }

  settled(settlements: readonly Settlement[]): void {
    for (const { kind } of settlements) {
      if (kind === 'released') this.releasedCount++;
      else this.settledCount++;
    }
    if (this.pressure.isOn) this.pressure.look();
    this.#lookQuiet();
  }

  wantsTold(): boolean {
    return this.idle.isAsked || this.telling.hasListeners;
  }

  told(settlements: readonly Settlement[]): void {
    this.telling.settled(settlements);
    this.idle.look();
  }

  /** A task was cancelled without a claim: it waited, or was for later. */
  cancelled(task: Pick<TaskView, 'id' | 'name' | 'queue'>, at: number, reason = 'cancelled'): void {
    if (this.pressure.isOn) this.pressure.look();
    this.idle.look();
    this.telling.cancelled(task, at, reason);
  }

  progress(claim: Claim, progress: unknown): void {
    this.telling.progress(claim, progress);
  }

  log(claim: Claim, _at: number, message: string): void {
    this.telling.log(claim, message);
  }

  threadEvent(event: ThreadEvent): void {
    this.telling.thread(event);
  }

  #fenced(error: Error): void {
    this.#fence = error;
    this.stopStarting();
    this.idle.release();
    this.telling.fenced(error);
  }
}
