/**
 * From what a builder function has made to a plan in which each node stands behind those that it waits for.
 * A group becomes a join of the tasks in it, once something waits for it; a cycle is refused by the names of
 * its tasks.
 */
import { InvalidArgumentError } from '../errors.js';
import type { TaskId } from '../task/task.js';
import type { Draft, DraftJoin, DraftTask } from './draft.js';
import { orderOf } from './order.js';
import {
  FlowChain,
  type FlowPlan,
  type FlowStep,
  FlowTask,
  MAX_FLOW_EDGES,
  MAX_RETURNED,
  type PlannedEdge,
  type PlannedJoin,
  type PlannedNode,
} from './types.js';

/** Edges of one task; where there are more, those of a label become a join. */
const MAX_OWN_EDGES = 1_000;
/** Of a cycle, in its error. */
const MAX_SHOWN = 10;

/** @throws {InvalidArgumentError} for a cycle, for a task twice in a group, or when there is no task. */
export function planOf(draft: Draft, returned: ReadonlyMap<string, FlowStep>): FlowPlan {
  const { nodes, taskCount } = draft;
  if (taskCount === 0) throw new InvalidArgumentError('build', 'a function that adds a task');
  const found = orderOf({ size: nodes.length, parentsOf: (place) => nodes[place]!.before });
  if (found !== undefined && 'cycle' in found)
    throw new InvalidArgumentError('build', cycleWords(nodes, found));
  const planned = new Planning(nodes);
  if (found === undefined) for (let place = 0; place < nodes.length; place++) planned.add(place);
  else for (const place of found.order) planned.add(place);
  for (const [name, step] of returned) planned.name(name, step);
  return { nodes: planned.nodes, taskCount, returned: planned.returned };
}

class Planning {
  readonly nodes: PlannedNode[] = [];
  readonly returned = new Map<string, number | readonly number[]>();
  readonly #drafts: Draft['nodes'];
  /** Where each of them stands now. */
  readonly #places: Int32Array;
  readonly #isParent: Uint8Array;
  /** The last join that each task was put into, from 1. */
  readonly #joined: Int32Array;
  #joins = 0;
  #looks = 0;
  #named = 0;

  constructor(drafts: Draft['nodes']) {
    this.#drafts = drafts;
    this.#places = new Int32Array(drafts.length);
    this.#joined = new Int32Array(drafts.length);
    this.#isParent = new Uint8Array(drafts.length);
    for (const draft of drafts) {
      if (draft.kind === 'task') for (const place of draft.before) this.#isParent[place] = 1;
    }
  }

  /** To be called with parents before children. */
  add(place: number): void {
    const draft = this.#drafts[place]!;
    if (draft.kind === 'join') {
      this.#checkOnce(draft);
      // Of a group in a group, or one that was only made, nobody asks.
      if (this.#isParent[place] === 1) this.#places[place] = this.#push(this.#join([place]));
      return;
    }
    const { kind, name, payload, options, whenParentDies } = draft;
    const after = this.#after(draft);
    const node: PlannedNode = { kind, name, payload, after, whenParentDies };
    this.#places[place] = this.#push(options === undefined ? node : { ...node, options });
  }

  name(name: string, step: FlowStep): void {
    let end = step;
    while (end instanceof FlowChain) end = end.last;
    const places = end instanceof FlowTask ? undefined : (this.#tasksOf([end.place]) as number[]);
    this.#named += places?.length ?? 1;
    if (this.#named > MAX_RETURNED) {
      throw new InvalidArgumentError(`the returned ${name}`, `one of ${MAX_RETURNED} tasks at most together`);
    }
    if (places !== undefined) {
      this.returned.set(name, places);
      return;
    }
    const place = this.#places[end.place]!;
    this.returned.set(name, place);
    const node = this.nodes[place] as PlannedNode & { kind: 'task' };
    this.nodes[place] = { ...node, key: node.key ?? name };
  }

  /** @throws {InvalidArgumentError} */
  #checkOnce({ before }: DraftJoin): void {
    const join = ++this.#joins;
    for (const place of before) {
      if (this.#joined[place] === join) throw twice(this.#drafts[place]!);
      this.#joined[place] = join;
    }
  }

  #push(node: PlannedNode): number {
    return this.nodes.push(node) - 1;
  }

  #after({ labels, edges }: DraftTask): readonly PlannedEdge[] {
    if (edges.length === 0 && labels.length === 0) return edges;
    // A label says what it has even when that is nothing.
    if (edges.length <= MAX_OWN_EDGES && labelsOf(edges) === labels.length) {
      return edges.map(({ label, from }) => ({ label, from: this.#from(from) }));
    }
    const parents = new Map<string, (number | TaskId)[]>(labels.map((label) => [label, []]));
    for (const { label, from } of edges) parents.get(label)!.push(from);
    return Array.from(parents, ([label, all]) => {
      const from = all.length === 1 ? this.#from(all[0]!) : this.#push(this.#join(all));
      return { label, from };
    });
  }

  #from(from: number | TaskId): number | TaskId {
    return typeof from === 'number' ? this.#places[from]! : from;
  }

  #join(parents: readonly (number | TaskId)[]): PlannedJoin {
    const of: PlannedJoin['of'][number][] = [];
    const tasks = this.#tasksOf(parents);
    for (let at = 0; at < tasks.length; ) {
      const first = tasks[at]!;
      let count = 1;
      if (typeof first === 'number') while (tasks[at + count] === first + count) count++;
      of.push(typeof first === 'number' && count > 1 ? { first, count } : first);
      at += count;
    }
    return { kind: 'join', of };
  }

  /** The places of tasks that these are, those of groups among them; tasks enqueued earlier as they are. */
  #tasksOf(parents: readonly (number | TaskId)[]): (number | TaskId)[] {
    const join = ++this.#joins;
    const tasks: (number | TaskId)[] = [];
    const left = parents.toReversed();
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      if (this.#looks++ > 2 * MAX_FLOW_EDGES) {
        throw new InvalidArgumentError(
          'steps',
          `groups of at most ${MAX_FLOW_EDGES} steps, their own included`,
        );
      }
      if (typeof next === 'string') {
        tasks.push(next);
        continue;
      }
      const draft: DraftTask | DraftJoin = this.#drafts[next]!;
      if (draft.kind === 'join') {
        for (let at = draft.before.length - 1; at >= 0; at--) left.push(draft.before[at]!);
        continue;
      }
      if (this.#joined[next] === join) {
        throw twice(draft);
      }
      this.#joined[next] = join;
      tasks.push(this.#places[next]!);
    }
    return tasks;
  }
}

function twice(draft: DraftTask | DraftJoin): InvalidArgumentError {
  const what = draft.kind === 'task' ? draft.name : 'another group';
  return new InvalidArgumentError('steps', `in a group once, and ${what} is twice in one`);
}

/** How many labels there are; the edges of one stand together. */
function labelsOf(edges: readonly PlannedEdge[]): number {
  let count = 0;
  for (let at = 0; at < edges.length; at++) if (edges[at]!.label !== edges[at - 1]?.label) count++;
  return count;
}

function cycleWords(
  nodes: readonly (DraftTask | DraftJoin)[],
  { cycle }: { cycle: readonly number[] },
): string {
  const names = cycle.flatMap((place) => {
    const node = nodes[place]!;
    return node.kind === 'task' ? [node.name] : [];
  });
  const shown = names.length > MAX_SHOWN ? [...names.slice(0, MAX_SHOWN), '…'] : names;
  return `a function that makes no cycle, as ${[...shown, names[0]].join(' → ')} is one`;
}
