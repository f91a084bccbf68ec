/**
 * What the sentences of the suite say in one word: a backend in the hands of a test, with a clock that it
 * moves.
 */
import assert from 'node:assert/strict';
import type { Backend, Broker, Claim, Head, Settlement, Ticket, Verdict } from '../../broker/broker.js';
import type { Inspect, QueueCounts } from '../../broker/inspect.js';
import type { KeyValue } from '../../broker/key-value.js';
import { type EpochMs, ManualClock } from '../../clock.js';
import type { Attempt, AttemptOutcome, NewTask, TaskId, TaskState, TaskView } from '../../task/task.js';

const DAY_MS = 86_400_000;
const NO_COUNTS: QueueCounts = {
  scheduled: 0,
  retrying: 0,
  ready: 0,
  unhandled: 0,
  blocked: 0,
  running: 0,
  completed: 0,
  dead: 0,
  cancelled: 0,
};

/** A task as a test writes it: a text for its payload, the rest where it matters. */
export interface Draft extends Partial<Omit<NewTask, 'body'>> {
  readonly text?: string;
}

/** How long a settled task is kept, and what else a settlement says. */
export interface Ending {
  readonly keepMs?: number;
  readonly result?: string;
  readonly progress?: unknown;
  readonly logs?: readonly { readonly at: EpochMs; readonly message: string }[];
  readonly next?: readonly NewTask[];
}

export class Probe {
  readonly clock = new ManualClock();
  readonly #open: (now: () => EpochMs) => Promise<Backend>;
  readonly #crash: ((backend: Backend) => Promise<void>) | undefined;
  #backend!: Backend;
  #serial = 0;

  private constructor(
    open: (now: () => EpochMs) => Promise<Backend>,
    crash: ((backend: Backend) => Promise<void>) | undefined,
  ) {
    this.#open = open;
    this.#crash = crash;
  }

  static async open(
    open: (now: () => EpochMs) => Promise<Backend>,
    crash?: (backend: Backend) => Promise<void>,
  ): Promise<Probe> {
    const probe = new Probe(open, crash);
    await probe.#openAgain();
    return probe;
  }

  get backend(): Backend {
    return this.#backend;
  }
  get broker(): Broker {
    return this.#backend.broker;
  }
  get keyValue(): KeyValue {
    return this.#backend.keyValue;
  }
  get inspect(): Inspect {
    assert.ok(this.#backend.inspect !== undefined, 'a backend that does not lack inspect has it');
    return this.#backend.inspect;
  }
  get now(): EpochMs {
    return this.clock.now();
  }

  /** Stops the backend in good order and opens the same store again. */
  async reopen(): Promise<void> {
    await this.#backend.close();
    await this.#openAgain();
  }

  /** The owner dies at once, and another one opens the store. */
  async crash(): Promise<void> {
    await this.#crash!(this.#backend);
    await this.#openAgain();
  }

  close(): Promise<void> {
    return this.#backend.close();
  }

  async #openAgain(): Promise<void> {
    this.#backend = await this.#open(() => this.clock.now());
  }

  draft({ text, ...fields }: Draft = {}): NewTask {
    const body = Buffer.from(text ?? `body ${this.#serial++}`);
    return { name: 'task', queue: 'default', level: 5, body, ...fields };
  }

  /** Enqueues one batch and waits until it is accepted. */
  async enqueue(...drafts: readonly Draft[]): Promise<TaskId[]> {
    return (await this.tickets(...drafts)).map((ticket) => ticket.id);
  }

  async tickets(...drafts: readonly Draft[]): Promise<readonly Ticket[]> {
    const { tickets, accepted } = this.broker.enqueue(drafts.map((draft) => this.draft(draft)));
    await accepted;
    return tickets;
  }

  /** One batch per text, accepted one after another: nothing of them shares a commit. */
  async enqueueTexts(texts: readonly string[], draft: Draft = {}): Promise<TaskId[]> {
    const ids: TaskId[] = [];
    for (const text of texts) ids.push(...(await this.enqueue({ ...draft, text })));
    return ids;
  }

  async take(max = 1_000, accept: (head: Head) => Verdict = () => 'take'): Promise<Claim[]> {
    return [...(await this.broker.claim(accept, max))];
  }

  async takeOne(): Promise<Claim> {
    const [claim] = await this.take(1);
    assert.ok(claim !== undefined, 'a task can be claimed');
    return claim;
  }

  /** Claims, one at a time, as long as there is something, and gives back their payloads as texts. */
  async drain(accept?: (head: Head) => Verdict): Promise<string[]> {
    const texts: string[] = [];
    for (;;) {
      const [claim] = await this.take(1, accept);
      if (claim === undefined) return texts;
      texts.push(textOf(claim));
      await this.complete([claim]);
    }
  }

  completed(claim: Claim, { keepMs = DAY_MS, result, ...effects }: Ending = {}): Settlement {
    const bytes = Buffer.from(result ?? `result of ${textOf(claim)}`);
    const attempt = this.attempt(claim, 'completed');
    return { claim, kind: 'completed', result: bytes, ...this.#final(claim, keepMs), attempt, ...effects };
  }

  dead(claim: Claim, { keepMs = DAY_MS, result: _, ...effects }: Ending = {}): Settlement {
    const tally = { ...claim.tally, failures: claim.tally.failures + 1 };
    const attempt = this.attempt(claim, 'failed');
    return {
      claim,
      kind: 'dead',
      reason: 'failed',
      ...this.#final(claim, keepMs),
      tally,
      attempt,
      ...effects,
    };
  }

  cancelled(claim: Claim, { keepMs = DAY_MS, result: _, ...effects }: Ending = {}): Settlement {
    const attempt = this.attempt(claim, 'cancelled');
    return { claim, kind: 'cancelled', reason: 'stale', ...this.#final(claim, keepMs), attempt, ...effects };
  }

  scheduled(claim: Claim, delayMs: number, { keepMs: _, result: __, ...effects }: Ending = {}): Settlement {
    const tally = { ...claim.tally, failures: claim.tally.failures + 1 };
    const attempt = this.attempt(claim, 'failed');
    return { claim, kind: 'scheduled', runAt: this.now + delayMs, tally, attempt, ...effects };
  }

  attempt(claim: Claim, outcome: AttemptOutcome): Attempt {
    const base = { attempt: claim.attempt, startedAt: this.now, runMs: 1.5, outcome };
    return outcome === 'failed'
      ? { ...base, error: { name: 'Error', message: `no ${textOf(claim)}` } }
      : base;
  }

  complete(claims: readonly Claim[], ending?: Ending): Promise<void> {
    return this.broker.settle(claims.map((claim) => this.completed(claim, ending)));
  }

  bury(claims: readonly Claim[], ending?: Ending): Promise<void> {
    return this.broker.settle(claims.map((claim) => this.dead(claim, ending)));
  }

  retry(claims: readonly Claim[], delayMs: number, ending?: Ending): Promise<void> {
    return this.broker.settle(claims.map((claim) => this.scheduled(claim, delayMs, ending)));
  }

  release(claims: readonly Claim[], suspect = false): Promise<void> {
    return this.broker.settle(claims.map((claim) => ({ claim, kind: 'released', suspect })));
  }

  cancel(id: TaskId, keepMs = DAY_MS): Promise<unknown> {
    return this.broker.cancel(id, 'cancelled', this.now, keepMs);
  }

  /** Moves the clock, promotes what became due, and waits until that is flushed: now it can be claimed. */
  async pass(ms: number): Promise<number> {
    this.clock.advance(ms);
    const promoted = await this.broker.promote(this.now, 1_000);
    await this.broker.settle([]);
    return promoted;
  }

  /** Moves the clock and prunes what became old. */
  async prune(ms: number): Promise<number> {
    this.clock.advance(ms);
    return this.broker.prune(this.now, 10_000);
  }

  async view(id: TaskId): Promise<TaskView> {
    const view = await this.inspect.get(id);
    assert.ok(view !== undefined, `task ${id} is known`);
    return view;
  }

  async state(id: TaskId): Promise<TaskState | undefined> {
    return (await this.inspect.get(id))?.state;
  }

  /** Counts of a queue that are not zero. */
  counts(queue = 'default'): Partial<QueueCounts> {
    const counts = Object.entries(this.inspect.counts().get(queue) ?? NO_COUNTS);
    return Object.fromEntries(counts.filter(([, count]) => count !== 0));
  }

  #final(claim: Claim, keepMs: number) {
    return { settledAt: this.now, expiresAt: this.now + keepMs, tally: claim.tally };
  }
}

export function textOf(task: { readonly body?: Uint8Array }): string {
  return Buffer.from(task.body ?? []).toString();
}

export function resultOf(settled: { readonly result?: Uint8Array }): string {
  return Buffer.from(settled.result ?? []).toString();
}

/** `a 0`, `a 1`, … */
export function texts(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, at) => `${prefix} ${at}`);
}

/** An error of this code is thrown, at once or later. */
export async function refuses(code: string, act: () => unknown): Promise<void> {
  await assert.rejects(async () => act(), { code: `ERR_MILLRACE_${code}` });
}
