/**
 * What one thread knows: its handlers, pages and names, the items that can be aborted, and the calls that
 * wait for an answer. Messages of the host arrive in `receive`, commands in `command`. The same class runs on
 * the host's own thread in tests, so it is told how to post and how to read the clock.
 */
import { UnknownCodecError, UnsupportedError } from '../src/errors.js';
import { BLOB } from '../src/task/blob-ref.js';
import { type Codec, decodeValue, type EncodeLimits, jsonCodec } from '../src/task/codec.js';
import { reviveError, storeError } from '../src/task/stored-error.js';
import type { AttemptRun } from './attempt.js';
import { runBatch } from './batch.js';
import { type BlobSetup, ThreadBlobs } from './blobs.js';
import {
  describe,
  findCodecs,
  HandlerTable,
  type LoadedHandler,
  ModuleRefused,
  messageOf,
} from './handlers.js';
import { Page } from './page.js';
import type {
  BatchMessage,
  Command,
  HandlerDescription,
  HelloMessage,
  LoadReply,
  Note,
  ThreadMessage,
} from './protocol.js';
import type { ServiceCaller } from './service-proxy.js';
import { Turns } from './turns.js';

/** What a session is given by the thread it lives in. */
export interface Surroundings {
  /** Milliseconds on the clock that host and thread share. */
  now(): number;
  wallNow(): number;
  importModule(url: string): Promise<Readonly<Record<string, unknown>>>;
}

export class Session {
  readonly handlers: HandlerTable;
  readonly codecs = new Map<string, Codec>([[jsonCodec.name, jsonCodec]]);
  readonly now: () => number;
  readonly wallNow: () => number;
  limits: EncodeLimits = { maxBytes: 0, maxBufferBytes: 0 };
  /** Absent where large payloads and results come and go inline. */
  blobs: ThreadBlobs | undefined;
  readonly #importModule: Surroundings['importModule'];
  readonly #pages = new Map<number, Page>();
  readonly #listening = new Map<string, AttemptRun>();
  readonly #answers = new Map<number, { resolve(answer: never): void; reject(error: Error): void }>();
  #names: string[] = [];
  #calls = 0;
  #post: (note: Note, list?: readonly ArrayBuffer[]) => void = () => {};
  #services: ServiceCaller | undefined;
  #afterBatch: () => void = () => {};
  readonly #turns = new Turns();

  constructor(surroundings: Surroundings) {
    this.now = surroundings.now;
    this.wallNow = surroundings.wallNow;
    this.#importModule = surroundings.importModule;
    this.handlers = new HandlerTable(surroundings.importModule);
  }

  /** Called once, before anything else. `post` is the thread's end of the control port. */
  connect(
    hello: Pick<HelloMessage, 'modules' | 'codecs' | 'limits'>,
    post: (note: Note, list?: readonly ArrayBuffer[]) => void,
    services: ServiceCaller | undefined,
    afterBatch: () => void,
  ): Promise<LoadReply> {
    const { maxResultBytes, maxResultBufferBytes } = hello.limits;
    this.limits = { maxBytes: maxResultBytes, maxBufferBytes: maxResultBufferBytes };
    this.#post = post;
    this.#services = services;
    this.#afterBatch = afterBatch;
    return this.#load(hello.modules, hello.codecs);
  }

  /** Makes a page known that does not come with a batch. */
  addPage(page: Page): void {
    this.#pages.set(page.id, page);
  }

  /** Takes any message but the first. What it returns is the answer. */
  receive(message: Exclude<ThreadMessage, HelloMessage>): Promise<unknown> {
    switch (message.kind) {
      case 'batch':
        return this.#batch(message);
      case 'register':
        return this.#load([message.url]);
      case 'retire':
        return this.handlers.stop();
    }
  }

  /** Large payloads are here, and large results go here. */
  openBlobs(setup: BlobSetup): void {
    const closed = (before: number): void => this.#post({ kind: 'files', page: -1, index: -1, before });
    this.blobs = new ThreadBlobs(setup, closed);
  }

  command(command: Command): void {
    if (command.kind === 'abort') {
      this.#listening.get(placeOf(command.page, command.index))?.abort();
      return;
    }
    const waiting = this.#answers.get(command.call);
    this.#answers.delete(command.call);
    if (command.kind === 'enqueued') waiting?.resolve(command.id as never);
    else if (command.kind === 'parents') waiting?.resolve(command.page as never);
    else waiting?.reject(reviveError(command.error));
  }

  post(note: Note, list?: readonly ArrayBuffer[]): void {
    this.#post(note, list);
  }

  /** Whether an abort of this attempt is to fire its signal. */
  listen(run: AttemptRun, wanted: boolean): void {
    const place = placeOf(run.batch.page.id, run.index);
    if (wanted) this.#listening.set(place, run);
    else this.#listening.delete(place);
  }

  /** A number to send with a question, and the promise of its answer. */
  expectAnswer<Answer>(): { readonly call: number; readonly answer: Promise<Answer> } {
    const call = ++this.#calls;
    const answer = new Promise<Answer>((resolve, reject) => this.#answers.set(call, { resolve, reject }));
    // Whether the handler awaits it or not, a refusal must not end the thread.
    answer.catch(() => {});
    return { call, answer };
  }

  servicesFor(run: AttemptRun): unknown {
    if (this.#services === undefined)
      throw new UnsupportedError('context.services', 'the runtime was given no services');
    return this.#services.for(run);
  }

  /** A stored payload or result, wherever its bytes are. @throws as `decodeValue` and {@link ThreadBlobs} */
  decode(stored: Uint8Array): unknown {
    const { blobs, codecs } = this;
    return stored[0] === BLOB && blobs !== undefined
      ? blobs.decode(stored, codecs)
      : decodeValue(stored, codecs);
  }

  /** The codec for results of this handler; plain when it names none. */
  codecOf(handler: LoadedHandler): Codec | undefined {
    const { codec } = handler.options;
    if (codec === undefined) return undefined;
    const found = this.codecs.get(codec);
    if (found === undefined) throw new UnknownCodecError(codec);
    return found;
  }

  async #batch(message: BatchMessage): Promise<void> {
    if (message.blobs !== undefined) this.openBlobs(message.blobs);
    if (message.memory !== undefined) this.#pages.set(message.page, new Page(message.memory));
    if (message.resetNames === true) this.#names = [];
    if (message.names !== undefined) for (const name of message.names) this.#names.push(name);
    const page = this.#pages.get(message.page)!;
    page.cursor = 0;
    const names = this.#names;
    await this.#turns.take(message.parallel, () => runBatch(this, { message, page, names }));
    this.#afterBatch();
  }

  #load(urls: readonly string[], codecs?: string): Promise<LoadReply> {
    return this.#turns.gate(() => this.#loadNow(urls, codecs));
  }

  async #loadNow(urls: readonly string[], codecs: string | undefined): Promise<LoadReply> {
    let url = codecs ?? '';
    try {
      if (codecs !== undefined) await this.#loadCodecs(codecs);
      const handlers: HandlerDescription[] = [];
      for (url of urls) {
        const module = await this.handlers.load(url);
        handlers.push(...describe(module));
        for (const codec of module.codecs) this.codecs.set(codec.name, codec);
      }
      return { ok: true, handlers };
    } catch (thrown) {
      const cause = thrown instanceof ModuleRefused ? thrown.cause : thrown;
      const error = cause === undefined ? {} : { error: storeError(cause) };
      return { ok: false, url, why: messageOf(thrown), ...error };
    }
  }

  async #loadCodecs(url: string): Promise<void> {
    for (const codec of findCodecs(await this.#importModule(url))) this.codecs.set(codec.name, codec);
  }
}

function placeOf(page: number, index: number): string {
  return `${page}/${index}`;
}
