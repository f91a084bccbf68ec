/**
 * Registers sentences, each over a store of its own, and skips those about something that the backend lacks.
 */
import type { Backend, Lack } from '../../broker/broker.js';
import type { EpochMs } from '../../clock.js';
import { Probe } from './probe.js';

type Body = (context: TestContext) => Promise<void> | void;

/** What the runner gives to a test; `skip` may throw or return. */
interface TestContext {
  skip(reason?: string): void;
}

/** The part of vitest or `node:test` that is used. */
export interface TestRunner {
  readonly describe: (name: string, body: () => void) => unknown;
  readonly it: ((name: string, body: Body) => unknown) & {
    readonly skip: (name: string, body: Body) => unknown;
  };
}

/** How a backend is to be opened for one sentence. */
export interface OpenForTest {
  /** `[a-z0-9-]+`; opened again under the same name, it is the same store. */
  readonly store: string;
  readonly now: () => EpochMs;
  readonly limits: { readonly maxPendingEnqueues: number; readonly maxPendingBytes: number };
  /** Waiting tasks that may be held in memory; meaningless to an engine that holds none. */
  readonly windowTasks?: number;
}

/** What `testBackend` takes beside the backend. */
export interface TestExtras {
  /**
   * Leaves the store of this name as the sudden death of its owner at this moment would, `backend` being its
   * owner; sentences about crashes are skipped without it.
   */
  readonly crash?: (store: string, backend: Backend) => Promise<void>;
  /** Why nothing can be tested here and now, for example because no server answers. */
  readonly skip?: string;
}

/** What a sentence needs of the backend and of its opening. */
export interface Needs {
  readonly has?: readonly Lack[];
  readonly crash?: true;
  readonly windowTasks?: number;
  readonly maxPendingEnqueues?: number;
  readonly maxPendingBytes?: number;
}

/** What is true of a subject. */
export interface Theme {
  readonly subject: string;
  readonly sentences: readonly Sentence[];
}

export interface Sentence {
  readonly sentence: string;
  readonly body: (probe: Probe) => Promise<void>;
  readonly needs: Needs;
}

export function it(sentence: string, body: Sentence['body'], needs: Needs = {}): Sentence {
  return { sentence, body, needs };
}

export class Suite {
  readonly #runner: TestRunner;
  readonly #name: string;
  readonly #open: (options: OpenForTest) => Promise<Backend> | Backend;
  readonly #extras: TestExtras;
  #serial = 0;

  constructor(
    runner: TestRunner,
    name: string,
    open: (options: OpenForTest) => Promise<Backend> | Backend,
    extras: TestExtras,
  ) {
    this.#runner = runner;
    this.#name = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
    this.#open = open;
    this.#extras = extras;
  }

  describe({ subject, sentences }: Theme): void {
    this.#runner.describe(subject, () => {
      for (const sentence of sentences) this.#register(sentence);
    });
  }

  #register({ sentence, body, needs }: Sentence): void {
    const { crash } = this.#extras;
    if (needs.crash === true && crash === undefined) {
      this.#runner.it.skip(`${sentence} (no crash was given)`, () => {});
      return;
    }
    this.#runner.it(sentence, async (context) => {
      const store = `${this.#name}-${process.pid}-${this.#serial++}`;
      const limits = {
        maxPendingEnqueues: needs.maxPendingEnqueues ?? 100_000,
        maxPendingBytes: needs.maxPendingBytes ?? 64 * 1024 * 1024,
      };
      const { windowTasks } = needs;
      const window = windowTasks === undefined ? {} : { windowTasks };
      const open = async (now: () => EpochMs): Promise<Backend> =>
        this.#open({ store, now, limits, ...window });
      const probe = await Probe.open(
        open,
        crash === undefined ? undefined : (backend) => crash(store, backend),
      );
      try {
        const lack = (needs.has ?? []).find((feature) => probe.broker.lacks[feature] !== undefined);
        if (lack === undefined) await body(probe);
        else context.skip(probe.broker.lacks[lack]);
      } finally {
        await probe.close();
      }
    });
  }
}
