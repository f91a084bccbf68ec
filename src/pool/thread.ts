/**
 * One worker thread from boot to exit: a piscina of exactly one thread, and the control port beside it.
 *
 * One piscina per thread, not one per pool, because a pool's threads cannot be told apart from outside: it
 * chooses the thread of a run, starts a replacement by itself when one dies, cannot be resized, cannot hold a
 * spare, and stops replacing for good after one death at boot. What it does well is kept: the message path,
 * its errors, its promises. `minThreads: 0` with `idleTimeout: Infinity` makes the first `run` start the
 * thread and nothing start a second one.
 *
 * Piscina's own queue stays empty: `concurrentTasksPerWorker` is out of reach, and no run follows a
 * death.
 */
import { fileURLToPath } from 'node:url';
import {
  MessageChannel,
  type MessagePort,
  type ResourceLimits,
  receiveMessageOnPort,
} from 'node:worker_threads';
import { Piscina } from 'piscina';
import type {
  Command,
  HelloMessage,
  LoadReply,
  Note,
  ThreadLimits,
  ThreadMessage,
} from '../../workers/protocol.js';
import type { Blobs } from '../broker/blobs.js';
import type { Clock } from '../clock.js';
import type { ServiceCall } from '../task/define-types.js';
import type { Runner } from './batch.js';
import { bootAnswer, handlersOf } from './boot.js';
import type { HandlerInfo, Services } from './pool.js';
import { openDoor, type ServiceDoor } from './services.js';

/** What a thread is started with. */
export interface ThreadSetup {
  readonly clock: Clock;
  readonly limits: ThreadLimits;
  readonly modules: readonly string[];
  readonly codecsModule?: string;
  readonly services: Services | undefined;
  /** Where large payloads and results are kept; asked with the first batch. */
  readonly blobs?: () => Blobs | undefined;
  readonly watchMemory: boolean;
  readonly execArgv?: readonly string[];
  readonly resourceLimits?: ResourceLimits;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** After this a thread that is not ready is terminated all the same, milliseconds. */
  readonly bootTimeoutMs: number;
}

export interface ThreadListener {
  note(note: Note): void;
  /** Who calls a service from this place of a page; `undefined` when the item there has ended. */
  callerAt(page: number, index: number): ServiceCall | undefined;
  /** The last event of a thread. */
  exited(death: Death): void;
}

/** How a thread ended. */
export interface Death {
  /** By `end`; otherwise by itself. */
  readonly expected: boolean;
  /** With the message of an error that nobody caught, and what a child wrote last: for the task alone. */
  readonly detail: string;
  /** Without these, where they are in `detail`. */
  readonly cause?: string;
  readonly code?: string | number;
  /** By an error that nobody caught: any task that ran on the thread may have left it behind. */
  readonly isStray?: boolean;
}

/** The thread as a station needs it: a worker thread, or the host's own one in tests. */
export interface StationThread extends Runner {
  /** Whether messages reach it: it was not ended and has not died. */
  readonly isAlive: boolean;
  /** Resolves with the thread's answer; rejects when it dies before, or when the message cannot be sent. */
  run(message: ThreadMessage, list?: readonly ArrayBuffer[]): Promise<unknown>;
  /** Terminates it; does nothing where that is impossible. */
  end(): unknown;
}

/** A thread as the crew of a slot needs it, from boot to exit. */
export interface PoolThread extends StationThread {
  /** Handlers of its modules, when they are imported. @throws {TasksModuleError} */
  readonly loaded: Promise<readonly HandlerInfo[]>;
  /** Modules it has imported or was told to import. */
  readonly modules: ReadonlySet<string>;
  /** Memory in bytes after its last batch; 0 unless it is watched. */
  readonly memoryBytes: number;
  /** Imports one more module. @throws {TasksModuleError} */
  register(url: string): Promise<readonly HandlerInfo[]>;
  /** Resolves when the thread's setups have stopped, or it died. */
  stopApps(): Promise<void>;
  /** Terminates the thread; resolves when it has exited. */
  end(): Promise<void>;
}
export type BootThread = (setup: ThreadSetup, listener: ThreadListener) => PoolThread;

const ENTRY = fileURLToPath(new URL('../../workers/entry.js', import.meta.url));

export class Thread implements PoolThread {
  readonly threadId: number;
  readonly loaded: Promise<readonly HandlerInfo[]>;
  readonly modules: Set<string>;
  readonly #status = new Float64Array(new SharedArrayBuffer(8));
  readonly #piscina: Piscina;
  readonly #port: MessagePort;
  readonly #listener: ThreadListener;
  readonly #door: ServiceDoor | undefined;
  readonly #exit: Promise<void>;
  #isAlive = true;
  #isEnding = false;
  #settled = false;
  #error: unknown;
  #exitCode: number | undefined;

  constructor(setup: ThreadSetup, listener: ThreadListener) {
    this.#listener = listener;
    const { services, codecsModule } = setup;
    if (services !== undefined)
      this.#door = openDoor(services, (page, index) => listener.callerAt(page, index));
    this.modules = new Set(setup.modules);
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.on('message', (note: Note) => listener.note(note));
    port1.unref();
    this.#piscina = new Piscina(piscinaOptions(setup));
    // An uncaught error while nothing runs is an 'error' of the pool; unheard, it would end the process.
    this.#piscina.on('error', () => {});
    const hello: HelloMessage = {
      kind: 'hello',
      port: port2,
      modules: setup.modules,
      limits: setup.limits,
      status: this.#status.buffer as SharedArrayBuffer,
      watchMemory: setup.watchMemory,
      ...(codecsModule === undefined ? {} : { codecs: codecsModule }),
      ...(this.#door === undefined ? {} : { servicesPort: this.#door.port }),
    };
    const answer = this.#run(hello, this.#door === undefined ? [port2] : [port2, this.#door.port]);
    const worker = this.#piscina.threads[0]!;
    this.threadId = worker.threadId;
    worker.on('error', (error) => {
      this.#isAlive = false;
      this.#error = error;
    });
    this.#exit = new Promise((resolve) => worker.on('exit', (code) => resolve(this.#exited(code))));
    this.loaded = this.#firstAnswer(setup, answer as Promise<LoadReply>);
    this.loaded.catch(() => {});
  }

  /** Whether messages reach it: it was not ended and has not died. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  get memoryBytes(): number {
    return this.#status[0]!;
  }

  run(message: ThreadMessage, list?: readonly (ArrayBuffer | MessagePort)[]): Promise<unknown> {
    return this.#isAlive ? this.#run(message, list) : Promise.reject(new Error('the thread has ended'));
  }

  command(command: Command): void {
    if (this.#isAlive) this.#port.postMessage(command);
  }

  drain(): void {
    for (
      let got = receiveMessageOnPort(this.#port);
      got !== undefined;
      got = receiveMessageOnPort(this.#port)
    ) {
      this.#listener.note(got.message as Note);
    }
  }

  async register(url: string): Promise<readonly HandlerInfo[]> {
    this.modules.add(url);
    return handlersOf((await this.run({ kind: 'register', url })) as LoadReply);
  }

  async stopApps(): Promise<void> {
    await this.run({ kind: 'retire' }).catch(() => {});
  }

  /**
   * Terminates the thread. One that is still booting is terminated when it is ready: an addon that is
   * terminated while it loads can take the whole process with it.
   * @returns  When it has exited, which native code can put off for ever.
   */
  end(): Promise<void> {
    if (!this.#isEnding) {
      this.#isEnding = true;
      if (this.#settled) this.#terminate();
    }
    return this.#exit;
  }

  #terminate(): void {
    this.#isAlive = false;
    // Not `worker.terminate()`: piscina would take the exit for a death. It waits for the exit; we do not.
    this.#piscina.destroy().catch(() => {});
  }

  #run(message: ThreadMessage, list?: readonly (ArrayBuffer | MessagePort)[]): Promise<unknown> {
    return this.#piscina.run(
      message,
      list === undefined ? undefined : { transferList: list as ArrayBuffer[] },
    );
  }

  async #firstAnswer(setup: ThreadSetup, answer: Promise<LoadReply>): Promise<readonly HandlerInfo[]> {
    try {
      return await bootAnswer(setup, answer, {
        terminate: () => this.#terminate(),
        whyEnded: async () => {
          await this.#exit;
          const cause = this.#error === undefined ? {} : { cause: this.#error };
          return {
            why: `its thread ended while importing it: ${detailOf(this.#error, this.#exitCode)}`,
            cause,
          };
        },
      });
    } finally {
      this.#settled = true;
      if (this.#isEnding) this.#terminate();
    }
  }

  #exited(exitCode: number): void {
    this.#isAlive = false;
    this.#exitCode = exitCode;
    this.drain();
    this.#port.close();
    this.#door?.close();
    this.#listener.exited({
      expected: this.#isEnding,
      detail: detailOf(this.#error, exitCode),
      ...(this.#error === undefined ? {} : { cause: codeOf(this.#error) ?? UNCAUGHT }),
      code: codeOf(this.#error) ?? exitCode,
      isStray: this.#error !== undefined && codeOf(this.#error) !== OUT_OF_MEMORY,
    });
  }
}

function piscinaOptions(setup: ThreadSetup): ConstructorParameters<typeof Piscina>[0] {
  const { execArgv, resourceLimits, env } = setup;
  return {
    filename: ENTRY,
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: Number.POSITIVE_INFINITY,
    concurrentTasksPerWorker: 1_000_000,
    atomics: 'disabled',
    recordTiming: false,
    ...(execArgv === undefined ? {} : { execArgv: [...execArgv] }),
    ...(resourceLimits === undefined ? {} : { resourceLimits }),
    ...(env === undefined ? {} : { env: env as NodeJS.ProcessEnv }),
  };
}

const OUT_OF_MEMORY = 'ERR_WORKER_OUT_OF_MEMORY';

function codeOf(error: unknown): string | undefined {
  const code = (error as { readonly code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** How a thread or child died of an error of user code, for those who must not see what that says. */
export const UNCAUGHT = 'an error that nobody caught';

/** How a thread died, in one line. Anything can be thrown. */
function detailOf(error: unknown, exitCode: number | undefined): string {
  if (error === undefined) return `worker exited with code ${exitCode}`;
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return `${codeOf(error) === OUT_OF_MEMORY ? '' : 'uncaught '}${text.slice(0, 500)}`;
}
