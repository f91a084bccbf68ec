/** A flow while its builder function runs: the nodes in the order in which they were added. */
import { InvalidArgumentError } from '../errors.js';
import type { EnqueueOptions } from '../options/types.js';
import type { WhenParentDies } from '../task/parents.js';
import type { TaskId } from '../task/task.js';
import {
  FlowChain,
  FlowGroup,
  type FlowStep,
  FlowTask,
  MAX_FLOW_EDGES,
  MAX_LABELS,
  type PlannedEdge,
} from './types.js';

export interface DraftTask {
  readonly kind: 'task';
  readonly name: string;
  readonly payload: unknown;
  readonly whenParentDies: WhenParentDies;
  options?: EnqueueOptions;
  labels: readonly string[];
  edges: PlannedEdge[];
  /** The places that it waits for. */
  before: number[];
}

export interface DraftJoin {
  readonly kind: 'join';
  readonly before: readonly number[];
}

/** Of the many that wait for nothing; never added to. */
const NO_LABELS: readonly string[] = Object.freeze([]);
const NO_EDGES: PlannedEdge[] = [];
const NO_PLACES: number[] = [];

/** No spread: there may be millions. */
export function draftTask(name: string, payload: unknown, whenParentDies: WhenParentDies): DraftTask {
  const labels = NO_LABELS;
  const edges = NO_EDGES;
  const before = NO_PLACES;
  return { kind: 'task', name, payload, whenParentDies, labels, edges, before };
}

export class Draft {
  readonly nodes: (DraftTask | DraftJoin)[] = [];
  taskCount = 0;
  isOpen = true;
  #edgeCount = 0;

  connect(node: DraftTask, label: string, from: number | TaskId, at: string): void {
    this.count(at);
    if (node.edges === NO_EDGES) node.edges = [];
    node.edges.push({ label, from });
    if (typeof from !== 'number') return;
    if (node.before === NO_PLACES) node.before = [];
    node.before.push(from);
  }

  count(at: string): void {
    if (this.#edgeCount++ >= MAX_FLOW_EDGES) {
      throw new InvalidArgumentError(at, `within the ${MAX_FLOW_EDGES} parents that a flow may have in all`);
    }
  }
}

export function addLabel(node: DraftTask, label: string, at: string): void {
  if (node.labels.includes(label)) {
    throw new InvalidArgumentError(
      at,
      `after one step only: ${node.name} has parents under "${label}" already`,
    );
  }
  node.labels = [...node.labels, label];
  if (node.labels.length > MAX_LABELS) {
    throw new InvalidArgumentError(at, `one of at most ${MAX_LABELS} labels`);
  }
}

export function isStep(value: unknown): value is FlowStep {
  return value instanceof FlowTask || value instanceof FlowGroup || value instanceof FlowChain;
}

/** The node that is done when the step is. */
export function endOf(step: FlowStep): number {
  let end = step;
  while (end instanceof FlowChain) end = end.end;
  return end.place;
}

/** Whether there is a task in it. */
export function isFilled(step: FlowStep): boolean {
  return !tasksIn(step).next().done;
}

/** The places of the tasks that a step begins with. */
export function startsOf(step: FlowStep): Iterable<number> {
  return new Set(tasksIn(step));
}

/** Groups are looked into once: they may hold each other many times over. */
function* tasksIn(step: FlowStep): Generator<number, void> {
  const seen = new Set<FlowStep>();
  const left: FlowStep[] = [step];
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    if (next instanceof FlowTask) yield next.place;
    else if (next instanceof FlowChain) left.push(next.start);
    else if (!seen.has(next)) {
      seen.add(next);
      for (const each of next.steps) left.push(each);
    }
  }
}
