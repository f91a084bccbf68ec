/**
 * What flows should do, in the plainest way: after each change, all blocked tasks are looked at until nothing
 * changes any more. It knows no commits, no cursors and no counts.
 */
import assert from 'node:assert/strict';
import type { WhenParentDies } from '#src/task/parents.js';

export type ModelState = 'blocked' | 'ready' | 'running' | 'completed' | 'dead' | 'cancelled';
type Seen = 'open' | 'broken' | 'died' | 'completed';

export interface ModelNode {
  readonly name: string;
  readonly kind: 'join' | WhenParentDies;
  /** `undefined` for a task that is no member. */
  readonly flow: string | undefined;
  /** In order; what a parent added stands behind it. */
  readonly parents: { readonly label: string; readonly name: string }[];
  id: string;
  state: ModelState;
}

export interface ModelFlow {
  readonly name: string;
  id: string;
  isCancelling: boolean;
  state: string;
  isGone: boolean;
}

const FINAL: readonly ModelState[] = ['completed', 'dead', 'cancelled'];

export class FlowModel {
  readonly nodes = new Map<string, ModelNode>();
  readonly flows = new Map<string, ModelFlow>();
  /** Behind which task of the graph an added one stands. */
  readonly #behind = new Map<string, string>();

  clone(): FlowModel {
    const copy = new FlowModel();
    for (const node of this.nodes.values())
      copy.nodes.set(node.name, { ...node, parents: [...node.parents] });
    for (const flow of this.flows.values()) copy.flows.set(flow.name, { ...flow });
    for (const [name, root] of this.#behind) copy.#behind.set(name, root);
    return copy;
  }

  add(node: ModelNode): void {
    assert.ok(!this.nodes.has(node.name));
    this.nodes.set(node.name, node);
  }

  node(name: string): ModelNode {
    return this.nodes.get(name)!;
  }

  tasks(flow?: string): ModelNode[] {
    const all = [...this.nodes.values()].filter(({ kind }) => kind !== 'join');
    return flow === undefined ? all : all.filter((node) => node.flow === flow);
  }

  /** A task is added by another, and stands behind it wherever that one is a parent. */
  addBehind(by: string, name: string, id: string): void {
    const { flow } = this.node(by);
    this.add({ name, kind: 'fail', flow, parents: [], id, state: 'ready' });
    for (const { parents } of this.nodes.values()) {
      for (let at = 0; at < parents.length; at++) {
        if (parents[at]!.name !== by) continue;
        // Behind what was added there before, which is behind an earlier node.
        let end = at + 1;
        while (end < parents.length && this.#isAdded(parents[end]!, parents[at]!)) end++;
        parents.splice(end, 0, { label: parents[at]!.label, name });
        this.#behind.set(name, this.#behind.get(by) ?? by);
        at = end;
      }
    }
    if (this.flows.get(flow!)!.isCancelling) this.node(name).state = 'cancelled';
  }
  #isAdded(next: ModelNode['parents'][number], to: ModelNode['parents'][number]): boolean {
    const root = this.#behind.get(to.name) ?? to.name;
    return next.label === to.label && this.#behind.get(next.name) === root;
  }

  cancelFlow(name: string): void {
    this.flows.get(name)!.isCancelling = true;
    for (const node of this.tasks(name)) {
      if (!FINAL.includes(node.state) && node.state !== 'running') node.state = 'cancelled';
    }
  }

  canGoRound(node: ModelNode): boolean {
    if (node.kind !== 'fail') return true;
    return !node.parents.some(({ name }) => ['died', 'broken'].includes(this.#seen(name)));
  }

  redriveFlow(name: string): void {
    const flow = this.flows.get(name)!;
    flow.isCancelling = false;
    flow.state = 'running';
    const isAdded = (node: ModelNode): boolean => this.#behind.has(node.name);
    const members = this.tasks(name);
    for (const node of [...members.filter(isAdded), ...members.filter((each) => !isAdded(each))]) {
      if ((node.state === 'dead' || node.state === 'cancelled') && this.canGoRound(node))
        node.state = 'blocked';
    }
  }

  settle(): void {
    for (let isChanged = true; isChanged; ) {
      isChanged = false;
      for (const node of this.tasks()) {
        const next = this.#nextState(node);
        if (next === node.state) continue;
        node.state = next;
        isChanged = true;
      }
    }
    for (const flow of this.flows.values()) {
      const members = this.tasks(flow.name);
      flow.state = members.every(({ state }) => FINAL.includes(state)) ? this.#outcome(flow.name) : 'running';
      if (flow.state !== 'running') flow.isCancelling = false;
    }
  }

  #outcome(flow: string): string {
    const ends = this.tasks(flow).filter(({ name }) => !this.#isAwaitedIn(flow, name));
    if (ends.some(({ state }) => state === 'dead')) return 'dead';
    return ends.some(({ state }) => state === 'cancelled') ? 'cancelled' : 'completed';
  }

  #isAwaitedIn(flow: string, name: string): boolean {
    for (const node of this.nodes.values()) {
      if (node.flow === flow && node.parents.some((parent) => parent.name === name)) return true;
    }
    return false;
  }

  #nextState(node: ModelNode): ModelState {
    if (node.state !== 'blocked') return node.state;
    const seen = node.parents.map(({ name }) => this.#seen(name));
    if (node.kind === 'fail' && seen.some((state) => state === 'died' || state === 'broken')) return 'dead';
    const goes = node.kind === 'run' ? ['died', 'completed'] : ['completed'];
    return seen.every((state) => goes.includes(state)) ? 'ready' : 'blocked';
  }

  #seen(name: string): Seen {
    const { kind, state, parents } = this.node(name);
    if (kind !== 'join') {
      if (state === 'completed') return 'completed';
      return FINAL.includes(state) ? 'died' : 'open';
    }
    const seen = parents.map((parent) => this.#seen(parent.name));
    if (seen.every((each) => each === 'completed')) return 'completed';
    if (!seen.includes('died')) return 'open';
    return seen.includes('open') ? 'broken' : 'died';
  }
}
