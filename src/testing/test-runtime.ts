/**
 * A runtime for the tests of those who write tasks: on the test's own thread, in memory, with a clock that
 * moves only when told to. Nothing runs by itself: `runNext` starts and finishes one task, `advance` lets
 * time pass. So a test has one order of events only, and a retry after an hour takes no time.
 *
 * What it cannot do: stop a handler that does not listen to its signal, give each task a fresh module, and
 * run a task in a process of its own: one with `isolation: 'process'` runs on the test's thread as well.
 */

import type { AnyModule } from '../access.js';
import { openMemory } from '../broker/memory.js';
import { type EpochMs, ManualClock } from '../clock.js';
import { InvalidArgumentError } from '../errors.js';
import { defaultLogger } from '../logger.js';
import type { ModuleLocation, OpenOptions } from '../options/types.js';
import { checkName, validateRuntimeOptions } from '../options.js';
import { Owning } from '../owning.js';
import { modulesOf } from '../pool/open.js';
import type { ItemOutcome } from '../pool/pool.js';
import { createSameThreadPool, type ModuleExports } from '../pool/same-thread.js';
import { Coordinator } from '../run/coordinator.js';
import type { TaskInfo } from '../run/describe.js';
import type { DeskParts } from '../run/desk-parts.js';
import { KeepAlive } from '../run/keep-alive.js';
import type { RunningItem } from '../run/running-item.js';
import { Runtime, type RuntimeParts } from '../runtime.js';
import { codecsByName, encodeValue } from '../task/codec.js';
import { storeError } from '../task/stored-error.js';
import { NextTask } from './next-task.js';
import { PlannedSlot } from './planned-slot.js';
import { seeded } from './seeded.js';

/** What `openRuntime` takes and a test has no use for. */
type Pointless =
  | 'backend'
  | 'tasks'
  | 'threads'
  | 'clock'
  | 'signal'
  | 'stopOn'
  | 'ifLocked'
  | 'autostart'
  | 'waitForTasks'
  | 'execArgv'
  | 'resourceLimits'
  | 'env'
  | 'recycle';

/** What {@link openTestRuntime} takes. */
export interface TestRuntimeOptions<Module = AnyModule> extends Omit<OpenOptions, Pointless> {
  /** The tasks: a module that the test has imported (`import * as tasks`), where it is, or several. */
  readonly tasks: Module | ModuleLocation | readonly (ModuleExports | ModuleLocation)[];
  /** Where the clock begins; default 2026-01-01T00:00Z. */
  readonly now?: EpochMs | Date;
  /** Seed of the jitter in backoffs, or a function that returns numbers from 0 to below 1; default 1. */
  readonly random?: number | (() => number);
}

/** What the compiler knows of the tasks: of a location nothing, unless it is told. */
export type ModuleOf<Module> = Module extends ModuleLocation | readonly unknown[] ? AnyModule : Module;

/** How a planned attempt ends: as if its handler threw this, ended its thread, or passed its deadline. */
export type PlannedFailure = Error | 'crash' | 'timeout';

const MAX_PLANNED = 1_000_000;
const SLICE_TASKS = 1_000;
const FINAL_STATES = ['completed', 'dead', 'cancelled'] as const;

/**
 * Opens a runtime that runs what the test tells it to.
 *
 * @throws {InvalidArgumentError} {@link UnknownOptionError} {@link InvalidNameError}
 * @throws {TasksModuleError} when a module cannot be imported, or exports no handler.
 */
export async function openTestRuntime<Module = AnyModule>(
  options: TestRuntimeOptions<Module>,
): Promise<TestRuntime<ModuleOf<Module>>> {
  const { tasks, now, random, ...rest } = options;
  const clock = new ManualClock(...(now === undefined ? [] : [Number(now)]));
  const checked = validateRuntimeOptions(
    { ...rest, backend: 'memory:', tasks: 'given', clock, threads: 1, autostart: false },
    { threads: () => 1, logger: defaultLogger, clock },
  );
  const codecs = codecsByName(checked.codecs);
  const pool = createSameThreadPool<RunningItem>({
    modules: (Array.isArray(tasks) ? tasks : [tasks]).map(moduleOf),
    clock,
    services: checked.services,
    maxResultBytes: checked.maxResultBytes,
    maxBufferBytes: checked.maxBufferBytes,
  });
  const backend = openMemory({ limits: checked, now: () => clock.now() });
  const coordinator = new Coordinator({
    ...{ backend, pool, options: checked, codecs, runsNothing: false },
    random: typeof random === 'function' ? random : seeded(random ?? 1),
  });
  const parts = { backend, pool, coordinator, options: checked };
  const owning = new Owning(parts);
  const keepAlive = new KeepAlive();
  const runtime = new TestRuntime<ModuleOf<Module>>(
    { ...{ standing: owning, options: checked, codecs, keepAlive }, parts },
    clock,
  );
  try {
    await owning.boot(pool.start(coordinator.executor));
    runtime.begin();
  } catch (error) {
    await runtime.stop({ graceMs: 0, killMs: 0 });
    throw error;
  }
  return runtime;
}

/** A {@link Runtime} whose tasks and whose time the test moves on. */
export class TestRuntime<Module = AnyModule> extends Runtime<Module> {
  readonly clock: ManualClock;
  readonly #parts: DeskParts;
  readonly #next: NextTask;
  readonly #planned = new Map<string, ItemOutcome[]>();
  /** Ids of settled tasks by when they were settled. */
  readonly #order = new Map<string, number>();
  #running: Promise<unknown> = Promise.resolve();

  /** Use {@link openTestRuntime}. */
  constructor({ parts, ...rest }: RuntimeParts & { readonly parts: DeskParts }, clock: ManualClock) {
    super(rest);
    this.clock = clock;
    this.#parts = parts;
    this.#next = new NextTask(parts.coordinator);
    this.unref();
    void this.#remember();
  }

  /**
   * Starts the best ready task and waits until that attempt has ended and is stored. One call at a time.
   * @returns What is known of the task then, which may be scheduled again; `undefined` when none is ready.
   */
  runNext(): Promise<TaskInfo | undefined> {
    const run = this.#running.then(() => this.#runOne());
    this.#running = run.catch(() => {});
    return run;
  }

  /**
   * Runs what is ready, and what becomes ready by that, until nothing is.
   * @param most  Attempts after which it stops; default 10,000.
   * @returns As {@link TestRuntime.runNext}, for each attempt.
   */
  async runAll(most = 10_000): Promise<readonly TaskInfo[]> {
    const infos: TaskInfo[] = [];
    while (infos.length < most) {
      const info = await this.runNext();
      if (info === undefined) break;
      infos.push(info);
    }
    return infos;
  }

  /**
   * Moves the clock on: deadlines pass, delayed tasks and retries become ready, schedules fire, each at its
   * time, results expire.
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0 && Number.isFinite(ms))) throw new InvalidArgumentError('ms', 'a number from 0', ms);
    const { coordinator } = this.#parts;
    const { scheduler } = coordinator;
    coordinator.gather.flush();
    const until = this.clock.now() + ms;
    await scheduler.poll();
    for (let at = scheduler.nextLookAt; at !== undefined && at <= until; at = scheduler.nextLookAt) {
      this.clock.advance(at - this.clock.now());
      await scheduler.poll();
    }
    this.clock.advance(until - this.clock.now());
    const now = this.clock.now();
    while ((await coordinator.broker.promote(now, SLICE_TASKS)) >= SLICE_TASKS);
    while ((await coordinator.broker.prune(now, SLICE_TASKS)) >= SLICE_TASKS);
    await coordinator.broker.settle([]);
  }

  /** The tasks of this name that are completed, dead or cancelled, in the order of their settlements. */
  async settled(name: string): Promise<readonly TaskInfo[]> {
    checkName('task', name);
    await this.#parts.coordinator.broker.settle([]);
    const tasks: TaskInfo[] = [];
    for (const state of FINAL_STATES) {
      let after: string | undefined;
      do {
        const page = await this.list({ name, state }, after === undefined ? {} : { after });
        tasks.push(...page.tasks);
        after = page.after;
      } while (after !== undefined);
    }
    const at = ({ id }: TaskInfo): number => this.#order.get(id) ?? Number.MAX_SAFE_INTEGER;
    return tasks.sort((a, b) => (a.settledAt ?? 0) - (b.settledAt ?? 0) || at(a) - at(b));
  }

  /**
   * Lets the next attempts of a name end so, without calling its handler.
   * @param times  1 to 1,000,000; default 1. Plans for one name follow one another.
   */
  planFailure(name: string, failure: PlannedFailure, times = 1): void {
    checkName('task', name);
    if (!Number.isInteger(times) || times < 1 || times > MAX_PLANNED) {
      throw new InvalidArgumentError('times', `an integer from 1 to ${MAX_PLANNED}`, times);
    }
    const planned = this.#planned.get(name) ?? [];
    const outcome = outcomeOf(failure);
    for (let time = 0; time < times; time++) planned.push(outcome);
    this.#planned.set(name, planned);
  }

  async #runOne(): Promise<TaskInfo | undefined> {
    const { coordinator, pool } = this.#parts;
    const { broker, executor } = coordinator;
    coordinator.checkOpen();
    coordinator.gather.flush();
    const claim = await this.#next.claim();
    if (claim === undefined) return undefined;
    const outcome = this.#planned.get(claim.name)?.shift();
    const slot = pool.slots[0]!;
    executor.hand(
      outcome === undefined ? slot : new PlannedSlot(slot, outcome, this.clock, executor),
      [claim],
      false,
    );
    await coordinator.whenQuiet();
    await broker.settle([]);
    return this.get(claim.id);
  }

  async #remember(): Promise<void> {
    for await (const event of this.events({ kinds: FINAL_STATES, bound: 1_000_000 })) {
      if ('taskId' in event) this.#order.set(event.taskId, this.#order.size);
    }
  }
}

function outcomeOf(failure: PlannedFailure): ItemOutcome {
  if (failure === 'crash') return { kind: 'crashed', detail: 'a planned crash' };
  if (failure === 'timeout') return { kind: 'aborted', reason: 'timed-out', threadKilled: false };
  if (!(failure instanceof Error)) {
    throw new InvalidArgumentError('failure', "an Error, 'crash' or 'timeout'", failure);
  }
  const retryable = (failure as { readonly retryable?: unknown }).retryable !== false;
  const error = encodeValue(storeError(failure)).slice();
  return { kind: 'failed', error, retryable, invalidPayload: false };
}

function moduleOf(module: unknown): string | ModuleExports {
  if (typeof module === 'string' || module instanceof URL) return modulesOf([module])[0]!;
  if (typeof module === 'object' && module !== null) return module as ModuleExports;
  throw new InvalidArgumentError('options.tasks', 'a module, its URL or path, or an array of these', module);
}
