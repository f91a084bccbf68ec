/**
 * One child process from boot to exit, as a thread of the pool: a station cannot tell it from a worker
 * thread, but that it can die of anything without taking the host along, and can always be ended.
 */
import { deserialize, serialize } from 'node:v8';
import type { ChildQuestion, FromChild, ServiceMessage } from '../../workers/child-protocol.js';
import { processClock } from '../../workers/process-clock.js';
import type { BatchMessage, Command, LoadReply, Note, ThreadMessage } from '../../workers/protocol.js';
import { Turns } from '../../workers/turns.js';
import { StoppedError } from '../errors.js';
import { storeError } from '../task/stored-error.js';
import { bootAnswer, handlersOf } from './boot.js';
import { ChildItems } from './child-items.js';
import { ChildProcess, type ProcessEnd } from './child-process.js';
import type { HandlerInfo, Services } from './pool.js';
import { callService } from './services.js';
import { type PoolThread, type ThreadListener, type ThreadSetup, UNCAUGHT } from './thread.js';

/** Of a frame, beside a result or what the default limits let through. */
const FRAME_BYTES = 1_048_576;
const DEFAULT_VALUE_BYTES = 65 * 1_048_576;
/** How Node ends a process for an error that nobody caught. */
const UNCAUGHT_CODE = 1;

const now = processClock();

export class Child implements PoolThread {
  /** Its process id. */
  readonly threadId: number;
  readonly loaded: Promise<readonly HandlerInfo[]>;
  readonly modules: Set<string>;
  readonly #process: ChildProcess;
  readonly #listener: ThreadListener;
  readonly #services: Services | undefined;
  readonly #items: ChildItems;
  readonly #turns = new Turns();
  readonly #calls = new Map<number, { resolve(reply: unknown): void; reject(error: Error): void }>();
  readonly #exit: Promise<void>;
  #left: () => void = () => {};
  #callCount = 0;
  #runs = 0;
  #isAlive = true;
  #isEnding = false;
  #memoryBytes = 0;
  #lastWords: Extract<FromChild, { kind: 'dying' }> | undefined;
  #detail = '';

  constructor(setup: ThreadSetup, listener: ThreadListener) {
    this.#listener = listener;
    const { modules, codecsModule, limits, watchMemory, services } = setup;
    this.#services = services;
    this.modules = new Set(modules);
    this.#exit = new Promise((resolve) => {
      this.#left = resolve;
    });
    const ofResult = limits.maxResultBytes + limits.maxResultBufferBytes;
    const maxFrameBytes = FRAME_BYTES + Math.max(ofResult, DEFAULT_VALUE_BYTES);
    this.#process = new ChildProcess(setup, maxFrameBytes, {
      message: (message) => this.#receive(message),
      exited: (end) => this.#exited(end),
    });
    this.threadId = this.#process.pid;
    this.#items = new ChildItems({
      send: (message) => this.#process.send(message),
      turn: () => this.#ask({ kind: 'turn' }),
      now,
      note: (note) => listener.note(note),
    });
    const hasServices = services !== undefined;
    const answer = this.#ask({
      ...{ kind: 'hello', modules, limits, watchMemory, hasServices, maxFrameBytes },
      ...(codecsModule === undefined ? {} : { codecs: codecsModule }),
    });
    this.loaded = bootAnswer(setup, answer as Promise<LoadReply>, {
      terminate: () => this.#process.kill(),
      whyEnded: async () => {
        await this.#exit;
        return { why: `its child process ended while importing it: ${this.#detail}`, cause: {} };
      },
    });
    this.loaded.catch(() => {});
  }

  /** Whether messages reach it: it was not ended and has not died. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  run(message: ThreadMessage, list: readonly ArrayBuffer[] = []): Promise<unknown> {
    switch (message.kind) {
      case 'batch':
        return this.#batch(message, list);
      case 'register':
        return this.#turns.gate(() => this.#ask(message));
      case 'retire':
        return this.#ask(message);
      case 'hello':
        throw new Error('a child greets itself');
    }
  }

  command(command: Command): void {
    if (!this.#isAlive) return;
    if (command.kind !== 'abort') {
      this.#process.send({ kind: 'command', command });
      return;
    }
    const aborted = this.#items.aborted(command.page, command.index);
    if (aborted === undefined) return;
    this.#process.mark(aborted.place, aborted.mark);
    this.#process.send({ kind: 'abort', ...aborted });
  }

  /** Notes come in one stream with the ends of their items: none is ever behind. */
  drain(): void {}

  async register(url: string): Promise<readonly HandlerInfo[]> {
    this.modules.add(url);
    return handlersOf((await this.run({ kind: 'register', url })) as LoadReply);
  }

  async stopApps(): Promise<void> {
    await this.run({ kind: 'retire' }).catch(() => {});
  }

  /** Kills the process; resolves when it has exited. */
  end(): Promise<void> {
    this.#isEnding = true;
    this.#isAlive = false;
    this.#process.kill();
    return this.#exit;
  }

  async #batch(message: BatchMessage, list: readonly ArrayBuffer[]): Promise<void> {
    const incoming = this.#items.take(message);
    // What was moved is gone here as well.
    if (message.moved !== undefined) giveUp(list.filter((each) => each !== message.rows.buffer));
    await this.#held(this.#turns.take(message.parallel, () => this.#items.run(incoming)));
  }

  #ask(message: ChildQuestion): Promise<unknown> {
    if (!this.#isAlive) return Promise.reject(new StoppedError('The child process'));
    const call = ++this.#callCount;
    const answer = new Promise<unknown>((resolve, reject) => this.#calls.set(call, { resolve, reject }));
    this.#process.send({ kind: 'ask', call, message });
    return this.#held(answer);
  }

  /** While it has something to do, this process goes on, as it does for a thread. */
  #held<Value>(ended: Promise<Value>): Promise<Value> {
    if (this.#runs++ === 0) this.#process.hold(true);
    return ended.finally(() => {
      if (--this.#runs === 0 && !this.#isEnding) this.#process.hold(false);
    });
  }

  #receive(message: FromChild): void {
    // It went on from what nobody caught.
    if (message.kind !== 'dying') this.#lastWords = undefined;
    switch (message.kind) {
      case 'answer':
        this.#calls.get(message.call)?.resolve(message.reply);
        this.#calls.delete(message.call);
        return;
      case 'note':
        this.#note(message.note);
        return;
      case 'ended':
        this.#memoryBytes = message.memoryBytes;
        this.#items.ended(message);
        return;
      case 'service':
        void this.#serve(message);
        return;
      case 'dying':
        this.#lastWords = message;
    }
  }

  #note(note: Note): void {
    if (note.kind === 'files') this.#listener.note(note);
    const place = this.#items.at(note.page);
    if (place !== undefined) this.#listener.note({ ...note, ...place });
  }

  async #serve({ call, place, path, args }: ServiceMessage): Promise<void> {
    try {
      const at = this.#items.at(place);
      const caller = at === undefined ? undefined : this.#listener.callerAt(at.page, at.index);
      if (caller === undefined) throw new StoppedError('The attempt');
      const given = deserialize(args) as readonly unknown[];
      const value = await callService(this.#services ?? {}, caller, path, given);
      this.#process.send({ kind: 'served', call, ok: true, value: new Uint8Array(serialize(value)) });
    } catch (error) {
      this.#process.send({ kind: 'served', call, ok: false, error: storeError(error) });
    }
  }

  #exited({ detail, cause, code }: ProcessEnd): void {
    this.#isAlive = false;
    const words = code === UNCAUGHT_CODE ? this.#lastWords : undefined;
    this.#detail = words?.detail ?? detail;
    this.#left();
    this.#listener.exited({
      expected: this.#isEnding,
      detail: this.#detail,
      cause: words === undefined ? cause : (words.code ?? UNCAUGHT),
      code: words?.code ?? code,
      isStray: words !== undefined,
    });
    const error = new StoppedError('The child process');
    this.#items.died(error);
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }
}

/** Buffers that were moved into a task are empty afterwards, wherever it ran. */
function giveUp(list: readonly ArrayBuffer[]): void {
  structuredClone(null, { transfer: list.filter((each) => each.byteLength > 0) });
}
