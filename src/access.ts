/**
 * The calls by which a runtime and a client take tasks in: types laid over a desk, which does what they ask.
 */
import { type Duplex, Writable } from 'node:stream';
import type { ReadableWritablePair, WritableStream } from 'node:stream/web';
import type { Settled } from './broker/broker.js';
import { Control } from './control.js';
import { InvalidArgumentError } from './errors.js';
import { type FlowBuilder, planFlow } from './flow/flow.js';
import type { FlowOptions } from './flow/types.js';
import { FlowAccess } from './flow-access.js';
import { FlowHandle, type FlowSteps } from './flow-handle.js';
import { Handle, type HandleHost, resultOf } from './handle.js';
import { LimitCalls } from './limit-calls.js';
import type {
  EnqueueOptions,
  MapOptions,
  OptionsOfEach,
  RunOptions,
  TransformOptions,
  WritableOptions,
} from './options/types.js';
import { checkName, validateFlowOptions, validateStreamOptions } from './options.js';
import type { Desk } from './run/desk.js';
import { Mapping } from './run/streams/mapping.js';
import { transformBy, webTransformBy, writableTo } from './run/streams/streaming.js';
import { type ScheduleInfo, type ScheduleOptions, type ScheduleRule, Schedules } from './schedules.js';
import type { Codec } from './task/codec.js';
import type { PayloadOf, ResultOf, TasksOf } from './task/define-types.js';
import type { TaskId } from './task/task.js';

const HANDLES_PER_TURN = 10_000;
/** Items of a map or stream in flight, for each thread. */
const IN_FLIGHT_PER_THREAD = 64;

/** Names of a module's tasks. */
export type NameOf<Module> = keyof TasksOf<Module> & string;

/** A module about which nothing is known: any name, any payload. */
// biome-ignore lint/suspicious/noExplicitAny: without a module type nothing can be checked
export type AnyModule = { readonly [name: string]: (payload: any) => any };

/** One task of a batch. */
export type BatchItem<Module> = {
  [Name in NameOf<Module>]: {
    readonly name: Name;
    readonly payload: PayloadOf<TasksOf<Module>, Name>;
    readonly options?: EnqueueOptions;
  };
}[NameOf<Module>];

/** The calls that a runtime and a client have in common and whose types follow from the tasks module. */
export class Access<Module = AnyModule> extends Control {
  /** Rules that limit how often tasks start and how many at once, changed while running. */
  readonly limits: LimitCalls;
  readonly #desk: Desk;
  readonly #codecs: ReadonlyMap<string, Codec>;
  readonly #host: HandleHost;
  readonly #schedules: Schedules;
  /** Flows by their ids. */
  readonly flows: FlowAccess;
  readonly #inFlight: number;
  readonly #take = (settled: Settled): unknown => resultOf(settled, this.#codecs);

  /** Use {@link openRuntime} or {@link openClient}. */
  constructor(desk: Desk, codecs: ReadonlyMap<string, Codec>, threads: number) {
    super(desk, codecs);
    this.#desk = desk;
    this.limits = new LimitCalls(desk);
    this.#inFlight = IN_FLIGHT_PER_THREAD * threads;
    this.#codecs = codecs;
    this.#host = { codecs, desk };
    this.#schedules = new Schedules(this.#host);
    this.flows = new FlowAccess(this.#host);
  }

  /**
   * Puts a task into its queue. Resolves when it is flushed: then it survives a crash and a power loss. With
   * no room it does what `whenFull` says: rejects, waits until there is some or `signal` aborts, or sheds.
   * @throws (rejects) {@link InvalidNameError} {@link UnknownOptionError} {@link InvalidArgumentError}
   *   {@link NotEncodableError} {@link TooLargeError} {@link QueueFullError} {@link DuplicateTaskError}
   *   {@link StoreFullError} {@link StoreFencedError} {@link StoppedError}; nothing is stored then.
   */
  async enqueue<Name extends NameOf<Module>>(
    name: Name,
    payload: PayloadOf<TasksOf<Module>, Name>,
    options?: EnqueueOptions,
  ): Promise<Handle<ResultOf<TasksOf<Module>, Name>>> {
    const receipt = await this.#desk.enqueue(name, payload, options);
    return new Handle(receipt, this.#host);
  }

  /**
   * Puts up to 10,000,000 tasks in, all or none of them. More than 20,000 are stored in several commits, and
   * become ready together with the last one; until then `counts()` shows them as blocked, and `batch` must
   * not be changed. They stand in line where this call began. With no room, the strictest `whenFull` of its
   * tasks holds for all of them; more than 20,000, or more than ever fit, are refused.
   * @throws (rejects) as {@link Access.enqueue}
   * @throws (rejects) {@link UnsupportedError} for `unique` in a batch of more than 20,000.
   */
  async enqueueBatch(batch: readonly BatchItem<Module>[]): Promise<Handle[]> {
    const receipts = await this.#desk.enqueueBatch(batch);
    const handles: Handle[] = [];
    for (let at = 0; at < receipts.length; at++) {
      // The host goes on while a million handles are made.
      if (at % HANDLES_PER_TURN === HANDLES_PER_TURN - 1) await new Promise(setImmediate);
      handles.push(new Handle(receipts[at]!, this.#host));
    }
    return handles;
  }

  /**
   * Enqueues a task and waits for its result. An abort of `signal` cancels the task.
   * @throws (rejects) as {@link Access.enqueue} and {@link Handle.result}.
   */
  run<Name extends NameOf<Module>>(
    name: Name,
    payload: PayloadOf<TasksOf<Module>, Name>,
    options?: RunOptions,
  ): Promise<ResultOf<TasksOf<Module>, Name>> {
    return this.#desk.run(name, payload, options, this.#take) as Promise<ResultOf<TasksOf<Module>, Name>>;
  }

  /**
   * Enqueues a task each time that the rule says so, from now on and after each restart: creates the schedule
   * of this id, or replaces it. One that is replaced keeps its course: what has fired does not fire again, a
   * pause holds, and with the same rule what was missed is still missed. So a program may say it at each
   * start.
   *
   * @param id  1 to 128 characters of `[A-Za-z0-9][\w.:-]*`.
   * @param options  Of the schedule and of its tasks. A payload has at most 256 KiB.
   * @returns what is known of it then, and whether it is new.
   * @throws (rejects) {InvalidArgumentError} with the field, for example `schedule.cron`, and as
   *   {@link Access.enqueue}; nothing is stored then.
   */
  schedule<Name extends NameOf<Module>>(
    id: string,
    rule: ScheduleRule,
    name: Name,
    payload: PayloadOf<TasksOf<Module>, Name>,
    options?: ScheduleOptions,
  ): Promise<ScheduleInfo & { readonly isNew: boolean }> {
    return this.#schedules.set(id, rule, name, payload, options);
  }

  /** To look at, pause, resume, delete and fire schedules that are there. */
  get schedules(): Schedules {
    return this.#schedules;
  }

  /**
   * Puts in tasks of which some wait for others, all or none of them: `build` adds them, and returns those of
   * which it wants handles, by names of its own. Resolves when the flow is flushed. Payloads must not be
   * changed until then. More than 2,000 tasks, groups and parents are stored in several commits. Beyond
   * `maxWaiting` it is let in as {@link Access.enqueueBatch}.
   * @throws (rejects) as {@link Access.enqueue} and the methods of {@link FlowBuilder}; with a cycle
   *   {@link InvalidArgumentError}.
   * @throws (rejects) {@link UnknownTaskError} {@link ResultExpiredError} for a task enqueued earlier that
   *   one of these is to wait for; {@link UnsupportedError} for `unique` in a flow of more than 2,000.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: what a function without `return` gives
  async flow<const Returned extends FlowSteps | void = void>(
    build: (flow: FlowBuilder<Module>) => Returned,
    options?: FlowOptions,
  ): Promise<FlowHandle<Returned>> {
    const checked = validateFlowOptions(options, 'options');
    const receipt = await this.#desk.flows.enqueue(planFlow(build), checked);
    return FlowHandle.of<Returned>(receipt, this.#host);
  }

  /**
   * The results of a task for each item of a source, as an async iterator that holds no more than
   * `concurrency` items: it reads on as its consumer does, and as there is room for tasks. Nothing is read
   * before the first result is asked for. The first task that fails ends it, as does an error of the source;
   * then, and when the consumer leaves the loop, what is in flight is cancelled and the source is closed.
   * @throws at once: {@link InvalidNameError} {@link UnknownOptionError} {@link InvalidArgumentError}
   * @throws (rejects) as {@link Access.run}; the reason of `signal`
   */
  map<Name extends NameOf<Module>>(
    source: Iterable<PayloadOf<TasksOf<Module>, Name>> | AsyncIterable<PayloadOf<TasksOf<Module>, Name>>,
    name: Name,
    options?: MapOptions,
  ): AsyncIterableIterator<ResultOf<TasksOf<Module>, Name>> {
    const { concurrency = this.#inFlight, ordered, signal, options: each } = this.#many('map', name, options);
    checkSource(source);
    const run = this.#runner(name, each);
    return new Mapping({ source, run, concurrency, ordered, signal }) as never;
  }

  /**
   * A stream whose chunks are payloads. One is written when its task is accepted; the stream has finished
   * when all are. Results are kept as ever. A Web stream with `web: true`.
   * @throws {InvalidNameError} {@link UnknownOptionError} {@link InvalidArgumentError}
   */
  writable<Name extends NameOf<Module>>(
    name: Name,
    options: WritableOptions & { readonly web: true },
  ): WritableStream<PayloadOf<TasksOf<Module>, Name>>;
  writable<Name extends NameOf<Module>>(name: Name, options?: WritableOptions): Writable;
  writable(name: string, options?: WritableOptions): Writable | WritableStream {
    const {
      concurrency = this.#inFlight,
      signal,
      web,
      options: each,
    } = this.#many('writable', name, options);
    const enqueue = (payload: unknown, ends: AbortSignal): Promise<unknown> =>
      this.#desk.enqueue(name, payload, { whenFull: 'wait', ...each, signal: ends });
    const writable = writableTo(enqueue, { concurrency, signal });
    return web ? Writable.toWeb(writable) : writable;
  }

  /**
   * A stream into which payloads are written and from which results are read, as by {@link Access.map}. A
   * pair of Web streams with `web: true`. Streams of Node cannot carry `null`: a result that is `null` ends
   * them with {@link InvalidArgumentError}.
   * @throws {InvalidNameError} {@link UnknownOptionError} {@link InvalidArgumentError}
   */
  transform<Name extends NameOf<Module>>(
    name: Name,
    options: TransformOptions & { readonly web: true },
  ): ReadableWritablePair<ResultOf<TasksOf<Module>, Name>, PayloadOf<TasksOf<Module>, Name>>;
  transform<Name extends NameOf<Module>>(name: Name, options?: TransformOptions): Duplex;
  transform(name: string, options?: TransformOptions): Duplex | ReadableWritablePair {
    const checked = this.#many('transform', name, options);
    const { concurrency = this.#inFlight, ordered, signal, web, options: each } = checked;
    const transform = web ? webTransformBy : transformBy;
    return transform(this.#runner(name, each), { concurrency, ordered, signal });
  }

  #many(of: 'map' | 'writable' | 'transform', name: string, options: unknown) {
    checkName('task', name);
    return validateStreamOptions(of, options, 'options');
  }

  #runner(name: string, options: OptionsOfEach | undefined) {
    return (payload: unknown, signal: AbortSignal): Promise<unknown> =>
      this.#desk.run(name, payload, { whenFull: 'wait', ...options, signal }, this.#take);
  }

  /** A handle on a task enqueued earlier, here or elsewhere. Nothing is looked up until it is asked. */
  handle<Name extends NameOf<Module> = NameOf<Module>>(id: TaskId): Handle<ResultOf<TasksOf<Module>, Name>> {
    const settled = (): Promise<Settled> => this.#desk.settled(id);
    return new Handle({ id, isNew: false, settled }, this.#host);
  }
}

/** @throws {InvalidArgumentError} */
function checkSource(source: unknown): void {
  const isObject = (typeof source === 'object' && source !== null) || typeof source === 'string';
  if (isObject && (Symbol.asyncIterator in Object(source) || Symbol.iterator in Object(source))) return;
  throw new InvalidArgumentError('source', 'an iterable or async iterable', source);
}
