/**
 * A backend and its model side by side: every action is done to both and must have the same answer. The model
 * as of each commit is kept, because a crash takes both back to it.
 */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import type { Backend, Broker, Claim, Head, Settlement, Ticket, Verdict } from '#src/broker/broker.js';
import { openEmbedded } from '#src/broker/embedded/broker.js';
import type { Tables } from '#src/broker/embedded/tables.js';
import { isBlobRef } from '#src/task/blob-ref.js';
import { checkStore } from '../broker/store-check.js';
import { type ClaimMode, Gate, verdictOf } from './claim-modes.js';
import type { Disk } from './disks.js';
import { LargeBytes } from './large.js';
import { endOf, isHeadOf, isKept, lineOf, Model, type ModelDraft, type ModelTask } from './model.js';
import { shedOf } from './shed-of.js';
import { verifyTasks } from './verify-tasks.js';
import { told, type Waiting } from './waiting.js';

export type Ending = 'complete' | 'complete with a note' | 'bury' | 'cancel' | 'release' | 'retry';
type Shape = Omit<ModelDraft, 'text'> & { readonly size?: number };
export type Staged = 'accept' | 'abandon' | 'crash' | 'reopen';

const LIMITS = { maxPendingEnqueues: 100_000, maxPendingBytes: 1e9 };
const DAY_MS = 86_400_000;

export class Rig {
  readonly #disk: Disk;
  readonly #large: LargeBytes;
  readonly #windowTasks: number;
  model = new Model();
  #durable = new Model();
  #inFlight: Model | undefined;
  #backend!: Backend;
  #tables!: Tables;
  readonly #claims = new Map<string, Claim>();
  #ended: Claim[] = [];
  #tickets = new Map<string, Ticket>();
  #answers: Promise<void>[] = [];
  #waiting: Waiting[] = [];
  #lost = 0;
  /** Everything is flushed: what can be claimed is exact. */
  #isFlushed = true;
  #serial = 0;
  readonly gate = new Gate();
  readonly corrupt: Error[] = [];

  constructor(disk: Disk, windowTasks: number) {
    this.#disk = disk;
    this.#large = new LargeBytes(disk.folder);
    this.#windowTasks = windowTasks;
    this.model.now = this.#durable.now = 1_000_000;
  }

  get #broker(): Broker {
    return this.#backend.broker;
  }

  async open(): Promise<void> {
    this.#tables = await this.#disk.open({
      begun: () => {
        this.#inFlight = this.model.clone();
      },
      committed: () => {
        if (this.#inFlight !== undefined) this.#durable = this.#inFlight;
        this.#inFlight = undefined;
      },
    });
    const onCorrupt = (error: Error): number => this.corrupt.push(error);
    const blobFiles = await this.#large.open(this.#tables, onCorrupt);
    this.#backend = openEmbedded({
      ...{
        kind: this.#disk.name,
        lacks: {},
        tables: this.#tables,
        where: 'model',
        storeNumber: 7,
        limits: LIMITS,
      },
      ...{ windowTasks: this.#windowTasks, now: () => this.model.now },
      // With some windows all lanes have the same hash.
      ...(this.#windowTasks === 4 ? { laneHash: () => 'samehash' } : {}),
      blobFiles,
      onCorrupt,
    });
    this.#large.use(this.#backend.blobs!);
    this.#broker.order(this.gate.rules(() => this.model));
    this.#isFlushed = true;
    this.#lost = 0;
  }

  resume(what: 'all' | 'queue a'): void {
    this.gate.resume(what, this.model, this.#broker);
  }

  #draftOf({ size, ...shape }: Shape): ModelDraft {
    const text = `task ${this.#serial++}`;
    return { ...shape, text: size === undefined ? text : `${text} ${size}` };
  }

  async enqueue(shapes: readonly Shape[]): Promise<void> {
    const drafts = shapes.map((shape) => this.#draftOf(shape));
    const tasks = await Promise.all(drafts.map((draft) => this.#large.taskOf(draft)));
    const isHeld = (at: number): object => (isBlobRef(tasks[at]!.body) ? { startAfterCommit: true } : {});
    const expected = this.model.enqueue(drafts.map((draft, at) => ({ ...draft, ...isHeld(at) })));
    if (expected === undefined) {
      assert.throws(() => this.#broker.enqueue(tasks), { code: 'ERR_MILLRACE_DUPLICATE_TASK' });
      this.#large.drop(tasks);
      return;
    }
    this.#changed();
    for (const { text } of this.#waiting) if (isKept(this.#task(text))) this.#announce(this.#task(text));
    const { tickets, accepted } = this.#broker.enqueue(tasks);
    this.#answers.push(accepted);
    for (const [at, ticket] of tickets.entries()) {
      const text: string = expected[at]!;
      const task = this.#task(text);
      assert.equal(ticket.isNew, text === drafts[at]!.text);
      if (!ticket.isNew) {
        assert.equal(ticket.id, task.id);
        continue;
      }
      task.id = ticket.id;
      this.#tickets.set(text, ticket);
    }
  }

  /** A batch that is staged, and how that ends; other commands come before it or after it. */
  async stage(shapes: readonly Shape[], ending: Staged): Promise<void> {
    const drafts = shapes.map((shape) => this.#draftOf(shape));
    await this.flush();
    const tasks = await Promise.all(drafts.map((draft) => this.#large.taskOf(draft)));
    const stage = this.#broker.stage();
    const half = tasks.length >> 1;
    await this.#driven(stage.add(tasks.slice(0, half)));
    await this.turn(true);
    await this.#driven(stage.add(tasks.slice(half)));
    assert.equal(this.#blocked(), tasks.length);
    if (ending === 'crash') return this.crash();
    if (ending === 'reopen') return this.reopen();
    await this.flush();
    if (ending === 'abandon') {
      await this.#driven(stage.abandon());
      assert.equal(this.#blocked(), 0);
      return;
    }
    this.model.enqueue(drafts);
    this.#changed();
    const tickets = await this.#driven(stage.accept());
    for (const [at, { text }] of drafts.entries()) {
      this.#tickets.set(text, tickets.ticket(at));
      this.#task(text).id = tickets.ticket(at).id;
    }
    // Nothing is due at the beginning of time; it waits for delayed tasks to get their places.
    await this.#driven(Promise.resolve(this.#broker.promote(0, 1)));
    await this.flush();
    this.#durable = this.model.clone();
  }

  #blocked(): number {
    return [...this.#backend.inspect!.counts().values()].reduce((sum, { blocked }) => sum + blocked, 0);
  }

  /** Waits for an answer, with commits that end. */
  async #driven<T>(answer: Promise<T>): Promise<T> {
    let isDone = false;
    const done = (): void => {
      isDone = true;
    };
    answer.then(done, done);
    while (!isDone) await this.turn(true);
    return answer;
  }

  async claim(max: number, mode: ClaimMode): Promise<void> {
    let isExact = this.#isFlushed;
    const { model } = this;
    const taken: string[] = [];
    const skipped = new Set<string>();
    const isOffered = (task: ModelTask): boolean =>
      !skipped.has(task.queue) && !skipped.has(lineOf(task)) && !model.held.has(lineOf(task));
    const accept = (head: Head): Verdict => {
      const { queue, lane, level, name } = head;
      const line = lineOf(head);
      const task = model.ready().find((each) => isHeadOf(each, head));
      assert.ok(task !== undefined, `nothing is ready in ${queue} ${lane} ${level}`);
      assert.deepEqual([name, head.limitLane], [task.name, task.own]);
      if (model.held.get(line) === false) model.held.delete(line);
      assert.ok(isOffered(task), 'a line that is skipped or held is not offered');
      if (isExact) assert.equal(level, model.ready().find(isOffered)?.level, 'the best level goes first');
      assert.ok(!task.held || this.#isDurable(task.text), 'what asks for its commit waits for it');
      const verdict = verdictOf(mode, head);
      const isThere =
        verdict === 'park' ? lane === name : typeof verdict === 'object' && verdict.aside === lane;
      if (isThere || verdict === 'skip') skipped.add(line);
      else if (verdict === 'skipQueue') skipped.add(queue);
      else if (verdict === 'hold') model.hold(line);
      else if (verdict !== 'take') {
        if (typeof verdict === 'object') task.own = verdict.aside;
        model.toEnd(task, typeof verdict === 'object' ? verdict.aside : name);
        this.#changed();
        isExact = false;
      } else {
        task.state = 'running';
        taken.push(task.text);
      }
      return verdict;
    };
    const claims = await this.#broker.claim(accept, max);
    // A line may have been held whose last task had gone before.
    model.looked();
    assert.deepEqual(
      claims.map((claim) => this.#large.textOf(claim.body)),
      taken,
    );
    for (const claim of claims) this.#checkClaim(claim);
    if (isExact && claims.length < max) assert.deepEqual(model.ready().filter(isOffered), []);
  }

  #checkClaim(claim: Claim): void {
    const task = this.#task(this.#large.textOf(claim.body));
    assert.equal(claim.id, task.id);
    assert.equal(claim.tally.failures, task.failures);
    assert.equal(claim.attempt, task.failures + 1);
    this.#claims.set(task.text, claim);
  }

  settle(ending: Ending, picks: number, delayMs: number, keepMs: number): void {
    const chosen = [...this.#claims].filter((_, at) => (picks >> (at % 16)) & 1);
    if (picks & 1) chosen.reverse();
    const settlements = chosen.map(([text, claim]) =>
      this.#end(this.#task(text), claim, ending, delayMs, keepMs),
    );
    if (ending !== 'release' && chosen.length > 0) this.#changed();
    this.#answers.push(this.#broker.settle(settlements));
    this.#large.tell();
    assert.equal(this.#broker.lostSettlements, this.#lost);
  }

  #end(task: ModelTask, claim: Claim, ending: Ending, delayMs: number, keepMs: number): Settlement {
    this.#claims.delete(task.text);
    this.#ended.push(claim);
    if (ending === 'release') {
      task.state = 'ready';
      return { claim, kind: 'released', suspect: false };
    }
    task.attempts++;
    const { now } = this.model;
    const attempt = { attempt: claim.attempt, startedAt: now, runMs: 1, outcome: 'completed' } as const;
    const final = { settledAt: now, expiresAt: now + keepMs, tally: claim.tally, attempt };
    if (ending === 'retry') {
      const runAt = now + delayMs * 1_000 + (this.#serial++ % 997);
      Object.assign(task, {
        state: 'scheduled',
        failures: task.failures + 1,
        runAt,
      });
      const tally = { ...claim.tally, failures: task.failures };
      return { claim, kind: 'scheduled', runAt: task.runAt, tally, attempt };
    }
    const reason = `${ending} ${task.text}`;
    const state = ending === 'bury' ? 'dead' : ending === 'cancel' ? 'cancelled' : 'completed';
    this.model.end(task, state, final.expiresAt, state === 'completed' ? `result ${task.text}` : reason);
    this.#announce(task);
    if (state !== 'completed') return { claim, kind: state, reason, ...final };
    const result = this.#large.resultFor(task.text);
    const progress = ending === 'complete' ? {} : { progress: 1 };
    return { claim, kind: 'completed', result, ...final, ...progress };
  }

  /** Claims that have ended before. */
  settleAgain(pick: number): void {
    const claim = this.#ended[pick % Math.max(1, this.#ended.length)];
    if (claim === undefined) return;
    const final = { settledAt: 1, expiresAt: 1, tally: claim.tally };
    this.#answers.push(this.#broker.settle([{ claim, kind: 'dead', reason: 'late', ...final }]));
    assert.equal(this.#broker.lostSettlements, ++this.#lost);
  }

  act(verb: 'cancel' | 'redrive' | 'delete', pick: number, keepMs: number): void {
    const task = this.#pick(pick);
    if (task === undefined) return;
    const { now } = this.model;
    if (verb === 'cancel') {
      const wasFinal = task.state;
      const expected = this.model.cancel(task, now + keepMs, 'by hand');
      if (task.state !== wasFinal) this.#announce(task);
      const answer = this.#broker.cancel(task.id, 'by hand', now, keepMs);
      const told = answer.then((each) => (each.kind === 'final' ? `final ${each.state}` : each.kind));
      this.#expect(told, expected);
    } else {
      const expected = this.model[verb](task);
      this.#expect(
        this.#broker[verb](task.id).then(() => 'done'),
        expected,
      );
    }
    this.#changed();
  }

  shed(below: number, most: number, keepMs: number): void {
    for (const task of shedOf(this.model, this.#broker, below, most, keepMs)) this.#announce(task);
    this.#changed();
  }

  tick(ms: number, limit: number): void {
    this.model.now += ms;
    const promoted = this.model.promote(limit);
    assert.equal(this.#broker.promote(this.model.now, limit), promoted);
    if (promoted > 0) this.#changed();
    const next = this.model.tasks.filter((task) => task.state === 'scheduled').map((task) => task.runAt);
    assert.equal(this.#broker.nextDueAt(), next.length === 0 ? undefined : Math.min(...next));
  }

  /** What is old enough may go, and nothing else. */
  async prune(ms: number, limit: number): Promise<void> {
    this.model.now += ms;
    if ((await this.#broker.prune(this.model.now, limit)) > 0) this.#changed();
    for (const task of this.model.tasks.filter(isKept)) {
      // Brief, so that no commit can begin before the model knows.
      const view = await this.#backend.inspect!.get(task.id, 'brief');
      if (view !== undefined) continue;
      assert.ok(task.expiresAt <= this.model.now, `${task.text} went before its time`);
      task.state = 'pruned';
    }
  }

  wait(pick: number, byTicket: boolean): void {
    const task = this.#pick(pick);
    if (task === undefined) return;
    const ticket = byTicket ? this.#tickets.get(task.text) : undefined;
    const settled = (ticket?.settled() ?? this.#broker.settled(task.id)).catch((error: Error) => error);
    const isGone = task.state === 'deleted' || task.state === 'pruned';
    // A ticket may still know what the store has let go of.
    if (isGone && ticket !== undefined) return;
    const expected = isGone ? 'ERR_MILLRACE_RESULT_EXPIRED' : isKept(task) ? endOf(task) : undefined;
    this.#waiting.push({ text: task.text, settled, expected });
  }

  /** Waits until all is durable and every answer has come. */
  async flush(): Promise<void> {
    let isDone = false;
    const flushed = this.#broker.settle([]).then(() => {
      isDone = true;
    });
    for (const startedAt = performance.now(); !isDone; ) {
      assert.ok(performance.now() - startedAt < 10_000, 'a flush ends');
      await setImmediate();
      this.#disk.release();
    }
    await flushed;
    await Promise.all(this.#answers);
    this.#answers = [];
    this.#isFlushed = true;
    for (const waiting of this.#waiting.filter(({ expected }) => expected !== undefined)) await told(waiting);
    this.#waiting = this.#waiting.filter(({ expected }) => expected === undefined);
  }

  /** Lets one turn of the event loop pass, in which a commit may begin, or end. */
  async turn(isReleased: boolean): Promise<void> {
    await setImmediate();
    if (isReleased) this.#disk.release();
    await setImmediate();
  }

  async verify(): Promise<void> {
    const staged = { start: 'stage:', end: 'stage;', limit: 1 };
    while (this.#tables.range('meta', staged).length > 0) await this.turn(true);
    await this.flush();
    const { counts } = checkStore(this.#tables);
    const running = this.model.clone();
    running.ownerGone();
    assert.deepEqual(counts, running.counts());
    const told = [...this.#backend.inspect!.counts()].map(([queue, each]) => {
      return [queue, Object.fromEntries(Object.entries(each).filter(([, count]) => count !== 0))] as const;
    });
    const some = told.filter(([, each]) => Object.keys(each).length > 0);
    assert.deepEqual(Object.fromEntries(some), this.model.counts());
    await verifyTasks(this.model, this.#backend.inspect!);
    assert.deepEqual(this.corrupt, []);
  }

  async reopen(): Promise<void> {
    let isClosed = false;
    const closed = this.#backend.close().then(() => {
      isClosed = true;
    });
    while (!isClosed) await this.turn(true);
    await closed;
    await Promise.all(this.#answers);
    this.model.ownerGone();
    this.#durable.ownerGone();
    assert.deepEqual(this.#durable.counts(), this.model.counts());
    await this.#next();
  }

  async crash(): Promise<void> {
    const old = this.#backend;
    await this.#disk.kill();
    await this.#large.die();
    const { now } = this.model;
    this.model = this.#durable.clone();
    this.model.now = now;
    for (const answer of this.#answers) answer.catch(() => {});
    old.broker.onReady(() => {});
    await this.#next();
  }

  async #next(): Promise<void> {
    this.#claims.clear();
    this.#ended = [];
    this.#tickets.clear();
    this.#answers = [];
    this.#waiting = [];
    this.model.ownerGone();
    this.#durable = this.model.clone();
    this.#inFlight = undefined;
    await this.open();
  }

  /** Ends everything, lets it grow old, and looks whether anything is left behind. */
  async finish(): Promise<void> {
    await this.verify();
    this.resume('all');
    for (let rounds = 0; rounds < 1_000; rounds++) {
      this.tick(100_000_000, 1_000);
      await this.flush();
      await this.claim(10_000, 'take');
      if (this.#claims.size === 0) break;
      this.settle('bury', 0xffff, 0, 1_000);
      await this.flush();
    }
    await this.verify();
    for (let rounds = 0; rounds < 4; rounds++) {
      await this.prune(DAY_MS, 10_000);
      await this.flush();
    }
    const { rows, blobs } = checkStore(this.#tables);
    const { ready, note, place, lane, later, unique, task, expiry } = rows;
    const kept = this.model.tasks.filter(isKept);
    assert.ok(kept.every((each) => each.expiresAt === Number.POSITIVE_INFINITY));
    assert.deepEqual(
      { ready, note, place, lane, later, unique, expiry },
      { ready: 0, note: 0, place: 0, lane: 0, later: 0, unique: 0, expiry: 0 },
    );
    assert.ok(task <= kept.length);
    await this.#backend.close();
    this.#large.check(blobs);
  }

  #changed(): void {
    this.model.looked();
    this.#isFlushed = false;
  }

  #isDurable(text: string): boolean {
    return this.#durable.tasks.some((task) => task.text === text);
  }

  #task(text: string): ModelTask {
    return this.model.tasks.find((task) => task.text === text)!;
  }

  #pick(pick: number): ModelTask | undefined {
    return this.model.tasks[pick % Math.max(1, this.model.tasks.length)];
  }

  #expect(answer: Promise<string>, expected: string): void {
    const told = answer.catch((error: { code: string }) => error.code);
    const checked = told.then((actual) => assert.equal(actual, expected));
    checked.catch(() => {});
    this.#answers.push(checked);
  }

  #announce(task: ModelTask): void {
    for (const waiting of this.#waiting) if (waiting.text === task.text) waiting.expected ??= endOf(task);
  }
}
