/**
 * A flow as its user writes it: tasks, groups and chains of them, and which of them waits for which. Shapes
 * and bounds; the builder that makes them is in `flow.ts`.
 */
import type { EnqueueOptions } from '../options/types.js';
import type { WhenParentDies } from '../task/parents.js';
import type { TaskId } from '../task/task.js';
import type { RetentionMs } from '../task/task-options.js';

/** Tasks of one flow, those that handlers add later included. */
export const MAX_FLOW_TASKS = 10_000_000;
/** Parents of all tasks of a flow together, and the items of its groups. */
export const MAX_FLOW_EDGES = 20_000_000;
/** Tasks that the builder function returns, those of groups among them. */
export const MAX_RETURNED = 1_000_000;
/** Names that it returns them by. */
export const MAX_RETURNED_NAMES = 1_000;
/** Labels of the parents of one task. */
export const MAX_LABELS = 100;
/** Where `chain` puts the parents of a step. */
export const PREVIOUS = 'previous';

/** What `runtime.flow` takes beside the builder function. */
export interface FlowOptions {
  /** What the flow is called in lists: a name as tasks have, by default none. */
  readonly name?: string;
  /** How long the flow and all of its tasks are kept from its end on, by the state that it ended in. */
  readonly retentionMs?: Partial<RetentionMs>;
}

/** One parent, or several under one label, in this order. */
export type Parent = FlowStep | TaskId | { readonly id: TaskId };
/** Parents by labels of your own. */
export type Parents = Readonly<Record<string, Parent | readonly Parent[]>>;

/**
 * What a task in a flow takes. Its payload and result are kept as long as the flow; `delayMs` counts from the
 * acceptance of the flow, and is not added to the wait for parents.
 */
export interface FlowTaskOptions extends Omit<EnqueueOptions, 'transfer' | 'retentionMs'> {
  /**
   * What it waits for, by labels of your own: steps of this flow, or tasks enqueued earlier by their handles
   * or ids. The handler reads their results with `context.parents(label)`.
   */
  readonly after?: Parents;
  readonly whenParentDies?: WhenParentDies;
}

declare const RESULT: unique symbol;

/** A task of a flow. */
export class FlowTask<Result = unknown> {
  declare readonly [RESULT]: Result;
  /** The builder that knows it, and its place there: of no use to others. */
  readonly builder: object;
  readonly place: number;

  constructor(builder: object, place: number) {
    this.builder = builder;
    this.place = place;
  }
}

/** Tasks that run beside each other. What comes after a group comes after all of it. */
export class FlowGroup<Result = unknown> {
  declare readonly [RESULT]: Result;
  readonly builder: GroupBuilder;
  readonly place: number;
  readonly steps: readonly FlowStep[];

  constructor(builder: GroupBuilder, place: number, steps: readonly FlowStep[]) {
    this.builder = builder;
    this.place = place;
    this.steps = steps;
  }

  /**
   * Lets `step` come after the whole group, whose results it gets under the label `previous`.
   * @returns the step.
   * @throws {InvalidArgumentError} as {@link FlowBuilder.chain}; so a group cannot be awaited.
   */
  // biome-ignore lint/suspicious/noThenProperty: the word for it, and who awaits a group is told
  then<Step extends FlowStep>(step: Step): Step {
    this.builder.chain(this, step);
    return step;
  }
}

interface GroupBuilder {
  chain(...steps: readonly FlowStep[]): unknown;
}

/** Steps one after the other. What comes after a chain comes after its last step that holds a task. */
export class FlowChain<Last extends FlowStep = FlowStep> {
  readonly builder: object;
  readonly last: Last;
  /** The first and the last of its steps that hold tasks. */
  readonly start: FlowStep;
  readonly end: FlowStep;

  constructor(builder: object, last: Last, start: FlowStep, end: FlowStep) {
    this.builder = builder;
    this.last = last;
    this.start = start;
    this.end = end;
  }
}

/** What a flow is made of. */
export type FlowStep<Result = unknown> =
  | FlowTask<Result>
  | FlowGroup<Result>
  // biome-ignore lint/suspicious/noExplicitAny: a chain of chains would have a type without end
  | FlowChain<any>;

/** What a step gives to what comes after it: a task its result, a group those of its steps. */
export type StepResult<Step> = 0 extends 1 & Step
  ? unknown
  : Step extends FlowTask<infer Result>
    ? Result
    : Step extends FlowGroup<infer Result>
      ? Result
      : Step extends FlowChain<infer Last>
        ? StepResult<Last>
        : unknown;

/** A flow that was checked: each node stands behind the nodes that it waits for. */
export interface FlowPlan {
  readonly nodes: readonly PlannedNode[];
  readonly taskCount: number;
  /** What the builder function returned, by its names: the places of tasks. */
  readonly returned: ReadonlyMap<string, number | readonly number[]>;
}

export type PlannedNode = PlannedTask | PlannedJoin;

export interface PlannedTask {
  readonly kind: 'task';
  readonly name: string;
  readonly payload: unknown;
  readonly options?: EnqueueOptions;
  readonly after: readonly PlannedEdge[];
  readonly whenParentDies: WhenParentDies;
  /** What the builder function returned it as. */
  readonly key?: string;
}

/**
 * Tasks as one node that is done when all of them are, so that n tasks after m others are n + m edges: places
 * in `nodes`, one or so many from the first on, or tasks enqueued earlier.
 */
export interface PlannedJoin {
  readonly kind: 'join';
  readonly of: readonly (PlannedEdge['from'] | { readonly first: number; readonly count: number })[];
}

export interface PlannedEdge {
  readonly label: string;
  /** A place in `nodes`, or a task enqueued earlier. */
  readonly from: number | TaskId;
}
