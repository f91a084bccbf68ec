/**
 * The pool port on the host's own thread, for tests: the same slots, stations and batches, and the same code
 * that runs in worker threads, but nothing is posted and time is whatever the clock says. Items run one by
 * one, in microtasks, so a test with a manual clock has one order of events only.
 *
 * What it cannot do: stop a handler that does not listen. At the end of its grace such a thread counts as
 * lost.
 */
import type { HelloMessage, LoadReply, ThreadMessage } from '../../workers/protocol.js';
import { serviceProxy } from '../../workers/service-proxy.js';
import { Session } from '../../workers/session.js';
import { type Clock, systemClock } from '../clock.js';
import { StoppedError } from '../errors.js';
import { handlersOf } from './boot.js';
import type { HandlerInfo, Pool, Services } from './pool.js';
import { callService } from './services.js';
import type { PoolThread, ThreadListener, ThreadSetup } from './thread.js';
import { ThreadPool, type ThreadPoolOptions } from './thread-pool.js';

/** Exports of a tasks module, given instead of its URL. */
export type ModuleExports = Readonly<Record<string, unknown>>;

export interface SameThreadPoolOptions
  extends Pick<
    ThreadPoolOptions,
    'clock' | 'services' | 'codecsModule' | 'maxResultBytes' | 'maxBufferBytes'
  > {
  readonly modules: readonly (string | ModuleExports)[];
}

/** A pool of one slot on this thread; nothing runs before `start`. */
export function createSameThreadPool<Token = unknown>(options: SameThreadPoolOptions): Pool<Token> {
  const clock = options.clock ?? systemClock;
  const inline = new Map<string, ModuleExports>();
  const modules = options.modules.map((module, index) => {
    if (typeof module === 'string') return module;
    inline.set(`inline:${index}`, module);
    return `inline:${index}`;
  });
  return new ThreadPool<Token>(
    { ...options, threads: 1, modules, clock },
    {
      now: () => clock.monotonic(),
      boot: (setup, listener) => new LocalThread(setup, listener, clock, inline),
    },
  );
}

class LocalThread implements PoolThread {
  readonly threadId: number;
  readonly loaded: Promise<readonly HandlerInfo[]>;
  readonly modules: Set<string>;
  readonly memoryBytes = 0;
  readonly #session: Session;
  readonly #listener: ThreadListener;
  #isAlive = true;
  #runs = 0;
  #onIdle: (() => void) | undefined;
  #end: Promise<void> | undefined;

  constructor(
    setup: ThreadSetup,
    listener: ThreadListener,
    clock: Clock,
    inline: ReadonlyMap<string, ModuleExports>,
  ) {
    this.threadId = nextThreadId++;
    this.modules = new Set(setup.modules);
    this.#listener = listener;
    this.#session = new Session({
      now: () => clock.monotonic(),
      wallNow: () => clock.now(),
      importModule: async (url) => inline.get(url) ?? ((await import(url)) as ModuleExports),
    });
    this.loaded = this.#load(setup);
    this.loaded.catch(() => {});
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  async run(message: Exclude<ThreadMessage, HelloMessage>): Promise<unknown> {
    if (!this.#isAlive) throw new StoppedError('The thread');
    this.#runs++;
    try {
      // Not inside the call of `hand`.
      await Promise.resolve();
      return await this.#session.receive(message);
    } finally {
      if (--this.#runs === 0) this.#onIdle?.();
    }
  }

  command(command: Parameters<Session['command']>[0]): void {
    queueMicrotask(() => this.#session.command(command));
  }

  drain(): void {}

  async register(url: string): Promise<readonly HandlerInfo[]> {
    this.modules.add(url);
    return handlersOf((await this.run({ kind: 'register', url })) as LoadReply);
  }

  async stopApps(): Promise<void> {
    await this.#session.handlers.stop();
  }

  /** Resolves when its handlers have ended of themselves. */
  end(): Promise<void> {
    this.#isAlive = false;
    this.#end ??= this.#idle().then(() =>
      this.#listener.exited({ expected: true, detail: 'the thread was ended' }),
    );
    return this.#end;
  }

  #idle(): Promise<void> {
    if (this.#runs === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  async #load(setup: ThreadSetup): Promise<readonly HandlerInfo[]> {
    const { services, modules, limits, codecsModule } = setup;
    const reply = await this.#session.connect(
      {
        modules,
        limits,
        ...(codecsModule === undefined ? {} : { codecs: codecsModule }),
      },
      (note) => this.#listener.note(note),
      services === undefined ? undefined : this.#services(services),
      () => {},
    );
    return handlersOf(reply);
  }

  /** As over a port: arguments and results are copies. */
  #services(services: Services): NonNullable<Parameters<Session['connect']>[2]> {
    return {
      for: (run) =>
        serviceProxy(async (path, args) => {
          const caller = this.#listener.callerAt(run.batch.page.id, run.index);
          if (caller === undefined) throw new StoppedError('The attempt');
          return structuredClone(await callService(services, caller, path, structuredClone(args)));
        }),
    };
  }
}

let nextThreadId = 1_000_000;
