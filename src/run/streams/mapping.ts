/**
 * Items in, results out, with a bounded number of them between: read from the source, in flight, or finished
 * and not taken yet. Nothing is read before the first result is asked for. The first failure, of a task or of
 * the source, ends it at once; so does whoever leaves the loop. What is in flight then is cancelled, and the
 * source is closed.
 *
 *     source ──next──▶ │ in flight │ finished │ ──next──▶ consumer
 *                      └──── concurrency ─────┘
 */
import { setMaxListeners } from 'node:events';

export interface MappingSetup<Item, Result> {
  readonly source: Iterable<Item> | AsyncIterable<Item>;
  /** Runs one item; the signal cancels it. */
  readonly run: (item: Item, signal: AbortSignal) => Promise<Result>;
  readonly concurrency: number;
  /** Results in the order of their items, else as they come. */
  readonly ordered: boolean;
  readonly signal: AbortSignal | undefined;
}

type Read<Item> = IteratorResult<Item, unknown>;

interface Consumer<Result> {
  resolve(result: IteratorResult<Result, undefined>): void;
  reject(error: unknown): void;
}

/** One item in its window. */
interface Place<Result> {
  isFinished: boolean;
  result: Result | undefined;
}

export class Mapping<Item, Result> implements AsyncIterableIterator<Result, undefined> {
  readonly #setup: MappingSetup<Item, Result>;
  readonly #controller = new AbortController();
  readonly #abort = (): void => this.#fail(this.#setup.signal!.reason);
  #source: Iterator<Item, unknown> | AsyncIterator<Item, unknown> | undefined;
  /** Items that were read, and whose results were not taken. */
  #held = 0;
  /** Their places in the order in which they are taken: from the read on, or from their end. */
  #places: Place<Result>[] = [];
  #consumers: Consumer<Result>[] = [];
  #isReading = false;
  #isSourceOver = false;
  #isOver = false;
  /** Told to the next who asks. */
  #failure: { readonly error: unknown } | undefined;

  constructor(setup: MappingSetup<Item, Result>) {
    this.#setup = setup;
    // One for each item in flight.
    setMaxListeners(0, this.#controller.signal);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Result, undefined>> {
    return new Promise((resolve, reject) => {
      this.#consumers.push({ resolve, reject });
      if (this.#source === undefined && !this.#isOver) this.#begin();
      this.#deliver();
    });
  }

  async return(): Promise<IteratorResult<Result, undefined>> {
    await this.#end();
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<IteratorResult<Result, undefined>> {
    await this.#end();
    throw error;
  }

  #begin(): void {
    const { source, signal } = this.#setup;
    try {
      signal?.throwIfAborted();
      signal?.addEventListener('abort', this.#abort, { once: true });
      const { [Symbol.asyncIterator]: later } = source as Partial<AsyncIterable<Item>>;
      this.#source = later?.call(source) ?? (source as Iterable<Item>)[Symbol.iterator]();
    } catch (error) {
      this.#isSourceOver = true;
      this.#fail(error);
    }
  }

  /** Reads on while there is room in the window. */
  #fill(): void {
    while (!this.#isReading && !this.#isSourceOver && this.#held < this.#setup.concurrency) {
      try {
        const read = this.#source!.next();
        if (!isLater(read)) this.#take(read);
        else {
          this.#isReading = true;
          Promise.resolve(read)
            .then((later) => {
              this.#isReading = false;
              this.#take(later);
              this.#deliver();
            })
            .catch((error) => this.#sourceFailed(error));
        }
      } catch (error) {
        this.#sourceFailed(error);
      }
    }
  }

  /** @throws {TypeError} when the source gave nothing that can be read. */
  #take(read: Read<Item>): void {
    if (typeof read !== 'object')
      throw new TypeError(`The source gave ${typeof read} instead of a read item`);
    const { done, value } = read;
    if (done === true) {
      this.#isSourceOver = true;
      return;
    }
    if (this.#isOver) return;
    const place: Place<Result> = { isFinished: false, result: undefined };
    this.#held++;
    const { ordered } = this.#setup;
    if (ordered) this.#places.push(place);
    this.#setup.run(value as Item, this.#controller.signal).then(
      (result) => {
        place.result = result;
        place.isFinished = true;
        if (!ordered) this.#places.push(place);
        this.#deliver();
      },
      (error) => this.#fail(error),
    );
  }

  #deliver(): void {
    if (!this.#isOver) this.#fill();
    while (this.#consumers.length > 0) {
      if (this.#failure !== undefined) {
        const { error } = this.#failure;
        this.#failure = undefined;
        this.#consumers.shift()!.reject(error);
      } else if (this.#isOver) this.#consumers.shift()!.resolve({ done: true, value: undefined });
      else {
        const [place] = this.#places;
        if (place?.isFinished === true) {
          this.#places.shift();
          this.#held--;
          this.#consumers.shift()!.resolve({ done: false, value: place.result as Result });
          this.#fill();
        } else if (this.#held === 0 && this.#isSourceOver) this.#close();
        else return;
      }
    }
  }

  #sourceFailed(error: unknown): void {
    this.#isReading = false;
    this.#isSourceOver = true;
    this.#fail(error);
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#failure = { error };
    // A source that fails to close is told nobody: there is a failure already.
    this.#end().catch(() => {});
  }

  /** Resolves when the source is closed, unless it is busy: then it is closed as soon as it is not. */
  async #end(): Promise<void> {
    if (this.#isOver) return;
    this.#close();
    this.#controller.abort();
    this.#deliver();
    if (this.#isSourceOver) return;
    this.#isSourceOver = true;
    const closed = this.#source?.return?.();
    if (this.#isReading) Promise.resolve(closed).catch(() => {});
    else await closed;
  }

  #close(): void {
    this.#isOver = true;
    this.#places = [];
    this.#setup.signal?.removeEventListener('abort', this.#abort);
  }
}

/** Not every promise is one of this realm. */
function isLater<Value>(given: Value | PromiseLike<Value>): given is PromiseLike<Value> {
  return typeof (given as Partial<PromiseLike<Value>> | undefined)?.then === 'function';
}
