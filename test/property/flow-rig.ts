/** Flows in a store in memory, and their model, side by side; its owner may die at any commit. */
import assert from 'node:assert/strict';
import type { Backend, Claim } from '#src/broker/broker.js';
import { openEmbedded } from '#src/broker/embedded/broker.js';
import type { CoreOptions } from '#src/broker/embedded/core.js';
import type { EmbeddedFlows } from '#src/broker/embedded/flows/flows.js';
import { memoryTables } from '#src/broker/embedded/memory-tables.js';
import { passOverUnaccepted } from '#src/broker/embedded/numbering.js';
import { TABLE_NAMES, type TableName, type Tables } from '#src/broker/embedded/tables.js';
import type { FlowNode, FlowView, ParentsPage } from '#src/broker/flows.js';
import type { WhenParentDies } from '#src/task/parents.js';
import type { NewTask } from '#src/task/task.js';
import { checkStore } from '../broker/store-check.js';
import { seeded } from '../fixtures/kill-oracle.js';
import { FlowModel, type ModelNode } from './flow-model.js';

type Change = readonly [TableName, string, Uint8Array | undefined];

const KEPT_MS = 1_000_000;

/** Steps in a commit, nodes and edges that come in with one, and nodes of a chunk. */
type Bounds = Required<Pick<CoreOptions, 'flowSteps' | 'flowRows' | 'flowChunk'>>;

export class FlowRig {
  readonly #random: () => number;
  /** What is looked at; apart, so that how often does not change what is done. */
  readonly #look = seeded(1);
  readonly #bounds: Bounds;
  model = new FlowModel();
  now = 1_000_000;
  #backend!: Backend;
  #tables!: Tables;
  /** What is durable. */
  readonly #stored = memoryTables();
  #claims = new Map<string, Claim>();
  #serial = 0;

  constructor(random: () => number, bounds: Bounds) {
    this.#random = random;
    this.#bounds = bounds;
  }

  get #flows(): EmbeddedFlows {
    return this.#backend.flows as EmbeddedFlows;
  }

  async open(): Promise<void> {
    const memory = memoryTables();
    const all = { start: '', end: '\u0100', limit: 1e6 };
    for (const table of TABLE_NAMES) {
      for (const [key, value] of this.#stored.range(table, all)) memory.put(table, key, value);
    }
    this.#tables = memory;
    let journal: Change[] = [];
    const tables: Tables = {
      ...memory,
      put: (table, key, value) => {
        memory.put(table, key, value);
        journal.push([table, key, value]);
      },
      delete: (table, key) => {
        memory.delete(table, key);
        journal.push([table, key, undefined]);
      },
      commit: async () => {
        const changes = journal;
        journal = [];
        if (this.#tables !== memory) throw new Error('this owner is dead');
        for (const [table, key, value] of changes) {
          if (value === undefined) this.#stored.delete(table, key);
          else this.#stored.put(table, key, Uint8Array.from(value));
        }
      },
    };
    await passOverUnaccepted(tables);
    this.#backend = openEmbedded({
      ...{ kind: 'test', lacks: {}, where: 'here', storeNumber: 1, now: () => this.now, tables },
      ...this.#bounds,
      limits: { maxPendingEnqueues: 100_000, maxPendingBytes: 1e9 },
      onCorrupt: (error) => assert.fail(error),
    });
    this.#claims = new Map();
    for (const node of this.model.nodes.values()) if (node.state === 'running') node.state = 'ready';
    // A member of a flow that is being cancelled does not run again.
    for (const { name, isCancelling } of this.model.flows.values())
      if (isCancelling) this.model.cancelFlow(name);
    this.model.settle();
  }

  below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  #pick<Value>(values: readonly Value[]): Value | undefined {
    return values[this.below(values.length)];
  }

  #draft(name: string): NewTask {
    return { name: 'task', queue: 'queue', level: 5, body: Buffer.from(name) };
  }

  async outside(): Promise<void> {
    const name = `outside ${this.#serial++}`;
    const { tickets, accepted } = this.#backend.broker.enqueue([this.#draft(name)]);
    await accepted;
    const id = tickets[0]!.id;
    this.model.add({ name, kind: 'fail', flow: undefined, parents: [], id, state: 'ready' });
  }

  /** A random graph, some of its parents being tasks that were there before. */
  async flow(): Promise<void> {
    const flow = `flow ${this.#serial++}`;
    const model = this.model;
    const before = model.tasks().filter((node) => !this.#isGone(node));
    const size = 2 + this.below(14);
    const nodes: FlowNode[] = [];
    const drafts: ModelNode[] = [];
    const joins = new Set<number>();
    for (let place = 0; place < size; place++) {
      const name = `${flow} ${place}`;
      const isJoin = place > 0 && place < size - 1 && this.#random() < 0.2;
      const parents: ModelNode['parents'] = [];
      const from: (number | string)[] = [];
      for (let count = this.below(4); count > 0; count--) {
        const isOutside = before.length > 0 && this.#random() < 0.15;
        const earlier = isOutside ? 0 : this.below(place);
        if (!isOutside && (place === 0 || (isJoin && joins.has(earlier)))) continue;
        const outside = this.#pick(before)!;
        parents.push({ label: `l${this.below(2)}`, name: isOutside ? outside.name : drafts[earlier]!.name });
        from.push(isOutside ? outside.id : earlier);
      }
      const kind = isJoin ? 'join' : (this.#pick(['fail', 'fail', 'run', 'wait'])! as WhenParentDies);
      drafts.push({ name, kind, flow, parents, id: '', state: 'blocked' });
      if (isJoin) joins.add(place);
      nodes.push(
        kind === 'join'
          ? { kind, of: from }
          : {
              ...{ kind: 'task', task: this.#draft(name), whenParentDies: kind },
              after: from.map((each, at) => ({ label: parents[at]!.label, from: each })),
            },
      );
    }
    // Joins have one label, and something waits for each.
    const waits = (at: number): FlowNode => ({
      ...{ kind: 'task', task: this.#draft(`${flow} of ${at}`), after: [{ label: 'l0', from: at }] },
    });
    for (const at of joins) {
      drafts[at] = { ...drafts[at]!, parents: drafts[at]!.parents.map(({ name }) => ({ label: '', name })) };
      nodes.push(waits(at));
      const parents = [{ label: 'l0', name: drafts[at]!.name }];
      drafts.push({ name: `${flow} of ${at}`, kind: 'fail', flow, parents, id: '', state: 'blocked' });
    }
    await this.#accept(flow, nodes, drafts);
  }

  async #accept(flow: string, nodes: readonly FlowNode[], drafts: readonly ModelNode[]): Promise<void> {
    const intake = this.#flows.flow({
      retentionMs: { completed: KEPT_MS, dead: KEPT_MS, cancelled: KEPT_MS },
    });
    const half = nodes.length >> 1;
    await intake.add(nodes.slice(0, half));
    await intake.add(nodes.slice(half));
    if (this.#random() < 0.1) return intake.abandon();
    if (this.#random() < 0.05) return this.crash();
    const accepted = await intake.accept();
    this.model.flows.set(flow, {
      ...{ name: flow, id: accepted.id, isCancelling: false, state: 'running', isGone: false },
    });
    for (const [at, draft] of drafts.entries()) {
      this.model.add(draft.kind === 'join' ? draft : { ...draft, id: accepted.nodes.ticket(at).id });
    }
  }

  claim(): void {
    const claims = this.#backend.broker.claim(() => 'take', 1 + this.below(4)) as readonly Claim[];
    for (const claim of claims) {
      const node = this.model.node(Buffer.from(claim.body).toString());
      assert.equal(node.state, 'ready', `${node.name} may start`);
      node.state = 'running';
      this.#claims.set(node.name, claim);
    }
  }

  /** @returns when it is flushed; the model has it already. */
  finish(): Promise<void> | undefined {
    const [name, claim] = this.#pick([...this.#claims]) ?? [];
    if (name === undefined || claim === undefined) return undefined;
    this.#claims.delete(name);
    const node = this.model.node(name);
    const isCancelled = node.flow !== undefined && this.model.flows.get(node.flow)!.isCancelling;
    const fate = this.#random();
    const { broker } = this.#backend;
    const { tally } = claim;
    const attempt = { attempt: claim.attempt, startedAt: 1, runMs: 1, outcome: 'completed' } as const;
    const end = { claim, settledAt: this.now, expiresAt: this.now + KEPT_MS, tally, attempt };
    const done = { ...end, kind: 'completed', result: claim.body } as const;
    if (fate < 0.1) {
      node.state = isCancelled ? 'cancelled' : 'ready';
      return broker.settle([{ claim, kind: 'released', suspect: false }]);
    }
    if (fate < 0.35) {
      node.state = 'dead';
      return broker.settle([{ ...end, kind: 'dead', reason: 'failed' }]);
    }
    if (fate < 0.5 && node.flow !== undefined) {
      const names = Array.from({ length: 1 + this.below(3) }, () => `${name}+${this.#serial++}`);
      for (const each of names) this.model.addBehind(name, each, '');
      node.state = 'completed';
      return broker.settle([
        { ...done, next: names.map((each) => ({ ...this.#draft(each), inFlow: true })) },
      ]);
    }
    node.state = 'completed';
    return broker.settle([done]);
  }

  cancel(): Promise<unknown> | undefined {
    const node = this.#pick(
      this.model.tasks().filter(({ state }) => state === 'ready' || state === 'blocked'),
    );
    if (node === undefined || node.id === '') return undefined;
    node.state = 'cancelled';
    return this.#backend.broker.cancel(node.id, 'cancelled', this.now, KEPT_MS);
  }

  redrive(): Promise<unknown> | undefined {
    const ended = this.model.tasks().filter(({ state }) => state === 'dead' || state === 'cancelled');
    const node = this.#pick(ended.filter((each) => !this.#isGone(each) && each.id !== ''));
    if (node === undefined) return undefined;
    const redriven = this.#backend.broker.redrive(node.id);
    const isCancelling = node.flow !== undefined && this.model.flows.get(node.flow)!.isCancelling;
    if (isCancelling || !this.model.canGoRound(node)) {
      return assert.rejects(redriven, { code: 'ERR_MILLRACE_WRONG_STATE' });
    }
    node.state = 'blocked';
    return redriven;
  }

  cancelFlow(): Promise<unknown> | undefined {
    const flow = this.#pick(this.#living().filter(({ state }) => state === 'running'));
    if (flow === undefined) return undefined;
    this.model.cancelFlow(flow.name);
    return this.#flows.cancel(flow.id, 'enough');
  }

  redriveFlow(): Promise<unknown> | undefined {
    const flow = this.#pick(this.#living().filter(({ isCancelling }) => !isCancelling));
    if (flow === undefined) return undefined;
    const redriven = this.#flows.redrive(flow.id);
    const ended = this.model
      .tasks(flow.name)
      .filter(({ state }) => state === 'dead' || state === 'cancelled');
    if (ended.length === 0) return assert.rejects(redriven, { code: 'ERR_MILLRACE_WRONG_FLOW_STATE' });
    this.model.redriveFlow(flow.name);
    return redriven;
  }

  deleteFlow(): Promise<unknown> | undefined {
    const flow = this.#pick(this.#living());
    if (flow === undefined) return undefined;
    const deleted = this.#flows.delete(flow.id);
    if (flow.state === 'running') return assert.rejects(deleted, { code: 'ERR_MILLRACE_WRONG_FLOW_STATE' });
    flow.isGone = true;
    return deleted;
  }

  #living() {
    return [...this.model.flows.values()].filter(({ isGone }) => !isGone);
  }

  #isGone({ flow }: ModelNode): boolean {
    return flow !== undefined && this.model.flows.get(flow)!.isGone;
  }

  /** The owner dies with what it has not flushed, which `before` knows nothing of. */
  async crash(before?: FlowModel): Promise<void> {
    if (before !== undefined) this.model = before;
    const dead = this.#backend;
    this.#tables = memoryTables();
    await dead.close().catch(() => {});
    await this.open();
  }

  async reopen(): Promise<void> {
    await this.#backend.close();
    await this.open();
  }

  /** Nothing goes on any more. */
  async idle(): Promise<void> {
    for (let turn = 0; ; turn++) {
      const idle = this.#flows.idle();
      if (idle === undefined) break;
      assert.ok(turn < 10_000, 'it comes to an end');
      await idle;
    }
    await this.#backend.broker.settle([]);
    this.model.settle();
    await this.#nameAdded();
  }

  /** At rest: the store agrees with itself, and with the model. */
  async check(): Promise<void> {
    checkStore(this.#tables);
    for (const node of this.model.tasks()) {
      const view = await this.#backend.inspect!.get(node.id);
      assert.equal(view?.state, this.#isGone(node) ? undefined : node.state, node.name);
    }
    for (const flow of this.model.flows.values()) {
      const view = await this.#flows.get(flow.id);
      if (flow.isGone) assert.equal(view, undefined);
      else this.#checkFlow(view!, flow.name);
    }
    await this.#checkParents();
  }

  #checkFlow(view: FlowView, name: string): void {
    const { state, isCancelling } = this.model.flows.get(name)!;
    const members = this.model.tasks(name);
    const count = (of: string): number => members.filter((each) => each.state === of).length;
    const counts = [view.total, view.blocked, view.completed, view.dead, view.cancelled];
    const expected = [members.length, ...['blocked', 'completed', 'dead', 'cancelled'].map(count)];
    assert.deepEqual([view.state, view.isCancelling, ...counts], [state, isCancelling, ...expected], name);
  }

  async #checkParents(): Promise<void> {
    const children = this.model.tasks().filter((node) => !this.#isGone(node) && node.parents.length > 0);
    const child = children[Math.floor(this.#look() * children.length)];
    if (child === undefined) return;
    for (const label of new Set(child.parents.map((parent) => parent.label))) {
      const expected: string[] = child.parents
        .filter((parent) => parent.label === label)
        .flatMap(({ name }) => {
          const node = this.model.node(name);
          return node.kind === 'join' ? node.parents.map((parent) => parent.name) : [name];
        });
      const found: string[] = [];
      for (let after: string | undefined; ; ) {
        const page: ParentsPage = await this.#flows.parents(
          child.id,
          label,
          1 + Math.floor(this.#look() * 5),
          after,
        );
        found.push(...page.parents.map(({ id }) => id));
        after = page.after;
        if (after === undefined) break;
      }
      assert.deepEqual(
        found,
        expected.map((name) => this.model.node(name).id),
        child.name,
      );
    }
  }

  /** Finds out the ids of tasks that were added, by their payloads. */
  async #nameAdded(): Promise<void> {
    if (this.model.tasks().every(({ id }) => id !== '')) return;
    for (const flow of this.#living()) {
      for (const { id, body } of (await this.#flows.tasks(flow.id, 1_000)).tasks) {
        this.model.node(Buffer.from(body!).toString()).id = id;
      }
    }
  }

  async close(): Promise<void> {
    await this.#backend.close();
  }
}
