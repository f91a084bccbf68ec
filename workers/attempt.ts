/**
 * One started item in its thread: what the handler's context does is done here. Everything beyond the item's
 * place in its page is made on first use, since most handlers ask for nothing.
 */
import { InvalidArgumentError, StoppedError, TooLargeError } from '../src/errors.js';
import { checkName, validateEnqueueOptions } from '../src/options.js';
import { encodeValue } from '../src/task/codec.js';
import { formatId } from '../src/task/id.js';
import type { ParentsPage, ParentsRequest } from '../src/task/parents.js';
import type { FireOf, TaskId } from '../src/task/task.js';
import type { LoadedHandler } from './handlers.js';
import { ABORT_REASONS, type Page } from './page.js';
import {
  type BatchMessage,
  MAX_ENQUEUES,
  MAX_LOG_BYTES,
  MAX_LOG_LINES,
  type Note,
  PROGRESS_EVERY_MS,
} from './protocol.js';
import type { Session } from './session.js';

/** A year. */
const MAX_SNOOZE_MS = 31_536_000_000;

type DistributiveOmit<Union, Key extends PropertyKey> = Union extends unknown ? Omit<Union, Key> : never;

/** What the attempts of one batch share. */
export interface RunningBatch {
  readonly session: Session;
  readonly page: Page;
  /** Rows as they arrived; ids are read from them when asked for. */
  readonly rows: Uint8Array;
  readonly fires: BatchMessage['fires'];
}

export class AttemptRun {
  readonly batch: RunningBatch;
  readonly index: number;
  readonly handler: LoadedHandler;
  readonly name: string;
  readonly attempt: number;
  readonly #idAt: number;
  /** Below 0 the handler did not ask for it. */
  snoozeMs = -1;
  /** A note was posted: the host looks into the port before it reports this item. */
  noted = false;
  /** Its handler ended. */
  isOver = false;
  #wasAborted = false;
  #controller: AbortController | undefined;
  #said: Said | undefined;

  /** @param idAt  Where the id begins in the rows. */
  constructor(
    batch: RunningBatch,
    index: number,
    handler: LoadedHandler,
    name: string,
    attempt: number,
    idAt: number,
  ) {
    this.batch = batch;
    this.index = index;
    this.handler = handler;
    this.name = name;
    this.attempt = attempt;
    this.#idAt = idAt;
  }

  get taskId(): TaskId {
    return formatId(this.batch.rows, this.#idAt);
  }

  get schedule(): FireOf | undefined {
    return this.batch.fires?.[this.index];
  }

  /** Index of the reason in `ABORT_REASONS`, from 1; 0 is none. */
  get abortCode(): number {
    return this.batch.page.abortCode(this.index);
  }

  get isAborted(): boolean {
    return this.isOver ? this.#wasAborted : this.abortCode !== 0;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.isAborted) this.abort();
      else if (!this.isOver) this.batch.session.listen(this, true);
    }
    return this.#controller.signal;
  }

  /** Fires the signal. The flag in shared memory is set by then. */
  abort(): void {
    const reason = ABORT_REASONS[this.abortCode - 1] ?? 'cancelled';
    const name = reason === 'timed-out' ? 'TimeoutError' : 'AbortError';
    this.#controller?.abort(new DOMException(`The attempt was aborted: ${reason}`, name));
  }

  progress(value: unknown): void {
    if (this.isOver) return;
    const said = this.#saidSomething();
    // Numbers and texts cannot change later, so they are encoded only if they are posted.
    const isScalar = typeof value === 'number' || typeof value === 'string';
    said.progress = isScalar ? { value } : encodeValue(value).slice();
    const now = this.batch.session.now();
    if (now - said.progressAt >= PROGRESS_EVERY_MS) this.#postProgress(said, now);
  }

  log(message: unknown): void {
    if (this.isOver) return;
    const said = this.#saidSomething();
    if (said.lines++ < MAX_LOG_LINES) this.#postLog(cut(String(message)));
  }

  snooze(ms: number): void {
    if (!Number.isInteger(ms) || ms < 0 || ms > MAX_SNOOZE_MS) {
      throw new InvalidArgumentError('ms', `an integer from 0 to ${MAX_SNOOZE_MS}`, ms);
    }
    this.snoozeMs = ms;
  }

  /** With `now` in its options, resolves with the new task's id; else it goes with the outcome. */
  enqueue(
    name: string,
    payload: unknown,
    given?: Readonly<Record<string, unknown>>,
  ): Promise<TaskId> | undefined {
    if (this.isOver) throw new StoppedError('The attempt');
    const { now, inFlow, ...rest } = given ?? {};
    checkName('task', name);
    checkInFlow(inFlow, now);
    const options = validateEnqueueOptions(rest, 'options');
    if (options.transfer !== undefined) {
      throw new InvalidArgumentError('options.transfer', 'absent: payloads enqueued by a handler are copied');
    }
    if (options.signal !== undefined) {
      throw new InvalidArgumentError('options.signal', 'absent: signals do not cross to the host');
    }
    const said = this.#saidSomething();
    if (said.enqueues === MAX_ENQUEUES)
      throw new TooLargeError('list of enqueues', said.enqueues + 1, MAX_ENQUEUES);
    const encoded = { name, body: encodeValue(payload).slice(), options: { ...options } };
    const request = inFlow === true ? { ...encoded, inFlow } : encoded;
    said.enqueues++;
    if (now !== true) {
      this.post({ kind: 'enqueue', request });
      return undefined;
    }
    const { call, answer } = this.batch.session.expectAnswer<TaskId>();
    this.post({ kind: 'enqueue', call, request });
    return answer;
  }

  /** The next of the parents under a label. */
  parents(request: ParentsRequest): Promise<ParentsPage> {
    if (this.isOver) return Promise.reject(new StoppedError('The attempt'));
    const { call, answer } = this.batch.session.expectAnswer<ParentsPage>();
    this.post({ kind: 'parents', call, request });
    return answer;
  }

  post(note: DistributiveOmit<Note, 'page' | 'index'>, list?: readonly ArrayBuffer[]): void {
    this.noted = true;
    this.batch.session.post({ ...note, page: this.batch.page.id, index: this.index } as Note, list);
  }

  /** The handler ended: says what is still to be said, and is deaf and dumb from now on. */
  close(): void {
    if (this.#said !== undefined) this.#sayRest(this.#said);
    this.#wasAborted = this.abortCode !== 0;
    this.isOver = true;
    if (this.#controller !== undefined) this.batch.session.listen(this, false);
  }

  #saidSomething(): Said {
    this.#said ??= { progress: undefined, progressAt: Number.NEGATIVE_INFINITY, lines: 0, enqueues: 0 };
    return this.#said;
  }

  #sayRest(said: Said): void {
    if (said.progress !== undefined) this.#postProgress(said, said.progressAt);
    const dropped = said.lines - MAX_LOG_LINES;
    if (dropped > 0) this.#postLog(`… ${dropped} more lines were dropped`);
  }

  #postProgress(said: Said, now: number): void {
    const { progress } = said;
    if (progress === undefined) return;
    said.progress = undefined;
    said.progressAt = now;
    const value = progress instanceof Uint8Array ? progress : encodeValue(progress.value).slice();
    this.post({ kind: 'progress', value });
  }

  #postLog(message: string): void {
    this.post({ kind: 'log', at: this.batch.session.wallNow(), message });
  }
}

/** @throws {InvalidArgumentError} */
function checkInFlow(inFlow: unknown, now: unknown): void {
  if (inFlow !== undefined && typeof inFlow !== 'boolean') {
    throw new InvalidArgumentError('options.inFlow', 'true or false', inFlow);
  }
  if (inFlow === true && now === true) {
    throw new InvalidArgumentError('options.inFlow', 'absent with now: a flow grows with the completion');
  }
}

/** What a handler has said beside its result. */
interface Said {
  /** The last value not yet posted: encoded, or a scalar. */
  progress: Uint8Array | { readonly value: unknown } | undefined;
  progressAt: number;
  lines: number;
  enqueues: number;
}

/** At most 2 KiB of UTF-8, with a mark where it was cut. */
function cut(message: string): string {
  if (message.length * 3 <= MAX_LOG_BYTES || Buffer.byteLength(message) <= MAX_LOG_BYTES) return message;
  const bytes = Buffer.from(message.slice(0, MAX_LOG_BYTES));
  let end = MAX_LOG_BYTES - 3;
  // Not in the middle of a character: 10xxxxxx continues one.
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--;
  return `${bytes.toString('utf8', 0, end)}…`;
}
