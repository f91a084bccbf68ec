/**
 * Facts of a real store whose flushes wait until the test lets them happen, and of which a crash leaves as
 * many as chance will: those that were flushed, and some of the first that were not.
 */
import type { KeyValue } from '#src/broker/key-value.js';

interface Waiting {
  readonly write: () => Promise<unknown>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class LaggingStore {
  readonly #keyValue: KeyValue;
  #waiting: Waiting[] = [];
  puts = 0;

  constructor(keyValue: KeyValue) {
    this.#keyValue = keyValue;
  }

  put(key: string, value: Uint8Array): Promise<number | undefined> {
    this.puts++;
    return this.#wait(() => this.#keyValue.put(key, value)) as Promise<undefined>;
  }

  delete(key: string): Promise<boolean> {
    return this.#wait(() => this.#keyValue.delete(key)) as Promise<never>;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return (await this.#keyValue.get(key))?.value;
  }

  /** All that waits is flushed, and whoever waits for it has been told. */
  async flush(): Promise<void> {
    for (const { write, resolve } of this.#take()) {
      await write();
      resolve();
    }
    await turn();
  }

  /** What waits is refused, as after a write error. */
  async refuse(): Promise<void> {
    for (const { reject } of this.#take()) reject(new Error('the disk is gone'));
    await turn();
  }

  /**
   * The process is gone: of what was not flushed, the first `kept` are there all the same. Nobody is told.
   */
  async crash(kept: number): Promise<void> {
    for (const { write } of this.#take().slice(0, kept)) await write();
  }

  #take(): Waiting[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }

  #wait(write: () => Promise<unknown>): Promise<unknown> {
    return new Promise<void>((resolve, reject) => void this.#waiting.push({ write, resolve, reject }));
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
