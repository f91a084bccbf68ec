/**
 * A batch of a client that arrives in parts: kept while it fits one commit, staged beyond that. Its parts are
 * taken one after another, and nothing of it is left when it is dropped before its end.
 */
import { MAX_BATCH_TASKS, type Ticket } from '../broker/broker.js';
import { StoppedError } from '../errors.js';
import type { EncodedTask } from '../run/front.js';
import type { LocalDesk } from '../run/local-desk.js';
import type { StagedBatch } from '../run/staged-batch.js';

/** One commit takes no more. */
const MAX_KEPT_BYTES = 64 * 1024 * 1024;

export class BatchInParts {
  readonly #desk: LocalDesk;
  readonly #checkRoom: () => void;
  #kept: EncodedTask[] = [];
  #keptBytes = 0;
  #staged: StagedBatch | undefined;
  #last: Promise<void> | undefined;
  #isDropped = false;

  /** @param checkRoom  Asked before it is staged; throws when this client stages too many already. */
  constructor(desk: LocalDesk, checkRoom: () => void) {
    this.#desk = desk;
    this.#checkRoom = checkRoom;
  }

  get isStaged(): boolean {
    return this.#last !== undefined;
  }

  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** A promise when further parts should wait for it. */
  take(part: readonly EncodedTask[]): Promise<void> | undefined {
    if (this.#last === undefined) {
      for (const task of part) {
        this.#kept.push(task);
        this.#keptBytes += task.body instanceof Uint8Array ? task.body.length : 0;
      }
      if (this.#kept.length <= MAX_BATCH_TASKS && this.#keptBytes <= MAX_KEPT_BYTES) return undefined;
      const kept = this.#kept;
      this.#kept = [];
      this.#keptBytes = 0;
      this.#checkRoom();
      this.#last = this.#stage(kept);
    } else this.#last = this.#last.then(() => this.#stage(part));
    return this.#last;
  }

  /** Resolves when all that was taken is accepted, unless its signal has aborted before. */
  async accept(signal: AbortSignal): Promise<readonly Ticket[]> {
    if (this.#last === undefined) return this.#desk.acceptBatch(this.#kept, signal);
    await this.#last;
    this.#check();
    signal.throwIfAborted();
    return this.#staged!.accept();
  }

  /** Resolves when nothing of it is left. */
  async drop(): Promise<void> {
    this.#isDropped = true;
    this.#kept = [];
    // What is being added meanwhile comes to nothing.
    await this.#staged?.abandon();
  }

  async #stage(part: readonly EncodedTask[]): Promise<void> {
    this.#check();
    this.#staged ??= this.#desk.stage();
    await this.#staged.addEncoded(part);
  }

  #check(): void {
    if (this.#isDropped) throw new StoppedError('The batch');
  }
}
