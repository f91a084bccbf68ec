/**
 * Which queues are paused: kept with the tasks, so that a pause holds until it is taken back, also after a
 * restart.
 */
import type { KeyValue } from '../broker/key-value.js';
import type { RuntimeOptions } from '../options/types.js';
import { checkName } from '../options.js';
import type { Coordinator } from './coordinator.js';

const PREFIX = 'pause/';
const PER_READ = 1_000;

export class Pauses {
  readonly #keyValue: KeyValue;
  readonly #coordinator: Coordinator;
  readonly #options: RuntimeOptions;

  constructor(keyValue: KeyValue, coordinator: Coordinator, options: RuntimeOptions) {
    this.#keyValue = keyValue;
    this.#coordinator = coordinator;
    this.#options = options;
  }

  /** What was left paused. A queue whose options say `paused` or not is as they say. */
  async load(): Promise<void> {
    for (let after: string | undefined; ; ) {
      const page = await this.#keyValue.list(PREFIX, PER_READ, after);
      for (const { key } of page) {
        const queue = key.slice(PREFIX.length);
        if (this.#options.queues.get(queue)?.paused === undefined) this.#coordinator.setPaused(queue, true);
      }
      after = page.at(-1)?.key;
      if (page.length < PER_READ) return;
    }
  }

  /** Resolves when it would hold after a crash. @throws {InvalidNameError} {@link StoppedError} */
  async set(queue: string, isPaused: boolean): Promise<void> {
    const key = PREFIX + checkName('queue', queue);
    this.#coordinator.checkReachable();
    this.#coordinator.setPaused(queue, isPaused);
    if (isPaused) await this.#keyValue.put(key, new Uint8Array(0));
    else await this.#keyValue.delete(key);
  }
}
