/** A pool for a test, with a listener that remembers everything and lets the test wait for what it names. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach } from 'vitest';
import type {
  Batch,
  EnqueueRequest,
  FinishedItem,
  Pool,
  PoolItem,
  PoolListener,
  Slot,
  ThreadEvent,
} from '#src/pool/pool.js';
import { createThreadPool, type ThreadPoolOptions } from '#src/pool/thread-pool.js';
import { decodeValue, encodeValue } from '#src/task/codec.js';
import { formatId, ID_BYTES } from '#src/task/id.js';
import type { ParentsPage, ParentsRequest } from '#src/task/parents.js';
import { reviveError, type StoredError } from '#src/task/stored-error.js';
import type { Isolation } from '#src/task/task-options.js';

/** The compiled fixture `test/fixtures/<name>.ts`. */
export function fixture(name: string): string {
  return new URL(`dist/test/fixtures/${name}.js`, pathToFileURL(`${process.cwd()}/`)).href;
}

export type Token = string;

/** What a test says of an item; the rest is made up. */
export interface TestItem {
  readonly token?: Token;
  readonly name: string;
  readonly payload?: unknown;
  readonly attempt?: number;
  readonly timeoutMs?: number;
  readonly killGraceMs?: number;
  readonly isSuspect?: boolean;
  readonly body?: Uint8Array;
  readonly moved?: NonNullable<PoolItem['moved']>;
}

const folders: string[] = [];

/** A path in a folder of its own, which goes with the test. */
export function freshFile(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-'));
  folders.push(folder);
  return join(folder, name);
}

const open = new Set<Pool<Token>>();
afterEach(async () => {
  for (const pool of open) await pool.stop(0);
  open.clear();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** What most tests run on: the same contract holds for a thread and for a child beside it. */
export const ISOLATIONS = ['thread', 'process'] as const;

export class TestPool implements PoolListener<Token> {
  readonly pool: Pool<Token>;
  readonly isolation: Isolation;
  readonly items: FinishedItem<Token>[] = [];
  readonly events: ThreadEvent[] = [];
  readonly progressed: { readonly token: Token; readonly value: unknown }[] = [];
  readonly logged: { readonly token: Token; readonly at: number; readonly message: string }[] = [];
  readonly enqueued: { readonly token: Token; readonly request: EnqueueRequest }[] = [];
  answerEnqueue: (request: EnqueueRequest) => Promise<string> = async () => 'an id';
  answerParents: (request: ParentsRequest) => Promise<ParentsPage> = async () => ({ parents: [] });
  /** Called at the end of every call of the listener, with its name. */
  onCall: (method: string) => void = () => {};
  #waiting: (() => void)[] = [];
  #count = 0;

  constructor(pool: Pool<Token>, isolation: Isolation) {
    this.pool = pool;
    this.isolation = isolation;
    open.add(pool);
  }

  /** The slots that the test is about. */
  get slots(): readonly Slot<Token>[] {
    return this.isolation === 'thread' ? this.pool.slots : this.pool.children;
  }

  get slot(): Slot<Token> {
    return this.slots[0]!;
  }

  /** Resolves when the first thread is ready, or each of the children. */
  async start(): Promise<void> {
    await this.pool.start(this);
    if (this.isolation === 'process') await this.warm();
  }

  /** Resolves when the new number is in place, children too if the test is about them. */
  async resize(threads: number): Promise<void> {
    await this.pool.resize(threads);
    if (this.isolation === 'process') await this.warm();
  }

  /** Starts the children that there are now, one after the other. */
  async warm(): Promise<void> {
    for (const child of this.pool.children) {
      this.pool.warm(child.index);
      await this.until(() => child.isReady);
    }
  }

  hand(items: readonly TestItem[], slot: Slot<Token> = this.slot, parallel = false): Batch<Token> {
    return slot.hand(
      items.map((each) => this.#toItem(each)),
      parallel,
    );
  }

  /** Hands over one item and waits for its end. */
  async run(item: TestItem, slot?: Slot<Token>): Promise<FinishedItem<Token>> {
    const token = item.token ?? this.#nextToken();
    this.hand([{ ...item, token }], slot);
    return this.finishedItem(token);
  }

  /** The result of a handler. @throws the error it ended with. */
  async result(item: TestItem): Promise<unknown> {
    return resultOf(await this.run(item));
  }

  /** Resolves when `get` gives something; looks again after every call of the pool. */
  async until<Value>(get: () => Value | undefined | false): Promise<Value> {
    for (;;) {
      const value = get();
      if (value !== undefined && value !== false) return value;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  finishedItem(token: Token): Promise<FinishedItem<Token>> {
    return this.until(() => this.items.find((each) => each.token === token));
  }

  /** Resolves when the handler of `token` has said `progress('begun')`. */
  async begun(token: Token): Promise<void> {
    await this.until(() => this.progressed.some((each) => each.token === token && each.value === 'begun'));
  }

  event<Kind extends ThreadEvent['kind']>(
    kind: Kind,
    count = 1,
  ): Promise<Extract<ThreadEvent, { kind: Kind }>> {
    return this.until(() => {
      const found = this.events.filter((each) => each.kind === kind);
      return found[count - 1] as Extract<ThreadEvent, { kind: Kind }> | undefined;
    });
  }

  #toItem({ token, name, payload, attempt = 1, timeoutMs = 60_000, ...rest }: TestItem): PoolItem<Token> {
    const { killGraceMs = 50, isSuspect = false, body = encodeValue(payload).slice(), moved } = rest;
    const copyBody = (target: Uint8Array, at: number): void => target.set(body, at);
    const rules = { attempt, timeoutMs, killGraceMs, isSuspect };
    const base = {
      ...{ token: token ?? this.#nextToken(), name, ...rules },
      ...{ bodyBytes: body.length, copyBody, writeId },
    };
    return moved === undefined ? base : { ...base, moved };
  }

  #nextToken(): Token {
    return `item ${this.#count++}`;
  }

  #called(method: string): void {
    this.onCall(method);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  // The listener.

  finished(_slot: Slot<Token>, items: readonly FinishedItem<Token>[]): void {
    this.items.push(...items);
    this.#called('finished');
  }

  ready(): void {
    this.#called('ready');
  }

  progress(token: Token, value: unknown): void {
    this.progressed.push({ token, value });
    this.#called('progress');
  }

  log(token: Token, at: number, message: string): void {
    this.logged.push({ token, at, message });
    this.#called('log');
  }

  enqueue(token: Token, request: EnqueueRequest): Promise<string> {
    this.enqueued.push({ token, request });
    this.#called('enqueue');
    return this.answerEnqueue(request);
  }

  parents(_token: Token, request: ParentsRequest): Promise<ParentsPage> {
    return this.answerParents(request);
  }

  /** Of the kind that the test is about. */
  threadEvent(event: ThreadEvent): void {
    if (event.isolation === this.isolation) this.events.push(event);
    this.#called('threadEvent');
  }
}

/** Options of a pool, and what the test is about: threads, or the children beside them. */
export type TestPoolOptions = Partial<ThreadPoolOptions> & { readonly isolation?: Isolation };

/** As the death of one reads. */
export const DYING = { thread: 'worker', process: 'child process' } as const;

/** A started pool over the fixture `tasks`. */
export async function openPool(options: TestPoolOptions = {}): Promise<TestPool> {
  const pool = preparePool(options);
  await pool.start();
  return pool;
}

/** The same, not started. */
export function preparePool({ isolation = 'thread', ...options }: TestPoolOptions = {}): TestPool {
  const pool = createThreadPool<Token>({ threads: 1, modules: [fixture('tasks')], ...options });
  return new TestPool(pool, isolation);
}

/** The value an item completed with. @throws the error it failed with, or says how else it ended. */
export function resultOf({ outcome }: FinishedItem<Token>): unknown {
  if (outcome.kind === 'completed') return decodeValue(outcome.result);
  if (outcome.kind === 'failed') throw reviveError(decodeValue(outcome.error) as StoredError);
  throw new Error(`ended as ${JSON.stringify(outcome)}`);
}

/** The error an item failed with. */
export function errorOf({ outcome }: FinishedItem<Token>): StoredError {
  if (outcome.kind !== 'failed') throw new Error(`ended as ${outcome.kind}`);
  return decodeValue(outcome.error) as StoredError;
}

/** A door that handlers wait at until the test opens it. */
export class Gate {
  readonly #open = new Map<unknown, () => void>();
  readonly #promises = new Map<unknown, Promise<void>>();

  readonly services = { gate: (_call: unknown, key: unknown) => this.#at(key) };

  open(key: unknown): void {
    void this.#at(key);
    this.#open.get(key)!();
  }

  #at(key: unknown): Promise<void> {
    let promise = this.#promises.get(key);
    if (promise === undefined) {
      promise = new Promise((resolve) => this.#open.set(key, resolve));
      this.#promises.set(key, promise);
    }
    return promise;
  }
}

const ID = Uint8Array.from({ length: ID_BYTES }, (_, index) => index * 7);

/** The id of every item here. */
export const TASK_ID = formatId(ID);

function writeId(target: Uint8Array, at: number): void {
  target.set(ID, at);
}
