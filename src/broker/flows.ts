/**
 * The port of flows: tasks that wait for other tasks, stored and settled as one thing. Optional: an engine
 * that cannot says why in `lacks.flows`.
 *
 * A flow is given node by node, parents before children, so that no cycle can be said. A node is a task, or a
 * join: a point that has no handler, only parents, and that many children may wait for. So a group of n tasks
 * with m children costs n + m edges.
 *
 *     task ──┐            ┌──▶ task         an edge: a label of the child, and the parent
 *     task ──┼──▶ join ───┤
 *     task ──┘            └──▶ task
 *
 * A member waits as `blocked` until it is decided what becomes of it, and is `ready` (or `scheduled`, when
 * its `runAt` is later) from then on. It starts after the settlement that released it is flushed. A parent
 * *died* when it is dead or cancelled; a join died when all its parents are final and one of them died. Then
 * the child's `whenParentDies` decides:
 *
 *     'fail'  the child is dead, reason `parent-dead`, as soon as one parent has died, also one behind a join
 *     'run'   it is released once all its parents are final
 *     'wait'  it stays blocked until all its parents have completed, after a redrive; for ever, when a parent
 *             that is no member was pruned instead
 *
 * Settling a member and releasing what follows is one commit; of a large fan-out the rest follows in commits
 * of a bounded size, also after a restart, and nothing is released twice or forgotten.
 */
import type { EpochMs } from '../clock.js';
import type { ParentsPage, WhenParentDies } from '../task/parents.js';
import type { FinalState, NewTask, TaskId } from '../task/task.js';
import type { RetentionMs } from '../task/task-options.js';
import type { Claim } from './broker.js';
import type { Depth, Page } from './inspect.js';
import type { Tickets } from './tickets.js';

/** Text form of a flow's identity, of the same shape as a {@link TaskId}; never equal to one. Opaque. */
export type FlowId = string;

/** Tasks and joins of one flow, together with those that handlers add to it. */
export const MAX_FLOW_NODES = 10_000_000;
/** Nodes in one {@link FlowIntake.add}. */
export const MAX_NODES_AT_ONCE = 20_000;
/** Nodes and edges, together, that are stored in one commit: larger flows are staged. */
export const MAX_UNSTAGED = 2_000;
/** Edges of one task; more parents need a join. */
export const MAX_TASK_PARENTS = 1_000;
/** Edges from tasks that are no members, in all flows that are not final. */
export const MAX_OUTSIDE_PARENTS = 1_000_000;
/** Nodes that have a key. */
export const MAX_FLOW_KEYS = 1_000;
/** Of a label, and of a key. */
export const MAX_LABEL_CHARS = 128;
/** Parents in one page. */
export const MAX_PARENTS_LISTED = 1_000;

export type { ParentsPage, ParentView } from '../task/parents.js';

/**
 * `running` until every member is final. Then the ends decide, the members that nothing waits for: `dead`
 * when one of them is dead, else `cancelled` when one is cancelled, else `completed`. So a member that died
 * and was run past does not count, and one whose death nobody dealt with does.
 */
export type FlowState = 'running' | FinalState;

/** The place of an earlier node of the same flow, from 0; or a task that was enqueued before. */
export type From = number | TaskId;

/** So many tasks of the same flow, from this place on. */
export interface Places {
  readonly first: number;
  readonly count: number;
}

/** A label is 1 to {@link MAX_LABEL_CHARS} characters. Parents under one label keep the order given. */
export interface Edge {
  readonly label: string;
  readonly from: From;
}

export interface TaskNode {
  readonly kind: 'task';
  readonly task: NewTask;
  /** At most {@link MAX_TASK_PARENTS}. */
  readonly after?: readonly Edge[];
  /** `'fail'` when absent. */
  readonly whenParentDies?: WhenParentDies;
  /**
   * By which {@link FlowView.keys} names the task: 1 to {@link MAX_LABEL_CHARS} characters, once in a flow.
   */
  readonly key?: string;
}

/** Its parents are tasks, not joins. Something must wait for it. Without parents it has completed. */
export interface JoinNode {
  readonly kind: 'join';
  readonly of: readonly (From | Places)[];
}

export type FlowNode = TaskNode | JoinNode;

export interface FlowHead {
  /** For people; 1 to {@link MAX_LABEL_CHARS} characters. */
  readonly name?: string;
  /** How long the flow is kept with all its members, from its end on. They have no retention of their own. */
  readonly retentionMs: RetentionMs;
}

/**
 * A flow on its way in. Until it is accepted, `counts` shows its members as `blocked`, and nothing else knows
 * them. When the owner dies before, nothing of it is left.
 *
 * Up to {@link MAX_UNSTAGED} nodes and edges are stored in the one commit of `accept`, and refused before
 * anything is stored. Larger flows are stored part by part and made ready by one last commit.
 */
export interface FlowIntake {
  /**
   * One call at a time, of up to {@link MAX_NODES_AT_ONCE} nodes. Resolves when more may come. After a
   * rejection only `abandon` is right.
   *
   * A unique key that is taken, with `'keep'`, makes the task that holds it the parent in this place; it is
   * no member. Large flows take no unique keys.
   * @throws (rejects) {InvalidArgumentError} for bounds, labels, keys and places · {@link UnknownTaskError}
   *   {@link ResultExpiredError} for parents · {@link UnsupportedError} for `transfer`, and for unique keys
   *   in a large flow · {@link QueueFullError} {@link StoreFullError} {@link StoreFencedError}
   */
  add(nodes: readonly FlowNode[]): Promise<void>;
  /**
   * Resolves when the flow is flushed; a member without parents may start before that (eager start).
   * @throws (rejects) as `add`, and {DuplicateTaskError} · {@link InvalidArgumentError} for a join that
   *   nothing waits for
   */
  accept(): Promise<AcceptedFlow>;
  /** Resolves when nothing of it is left; the next owner goes on with that. Idempotent. */
  abandon(): Promise<void>;
}

export interface AcceptedFlow {
  readonly id: FlowId;
  /** By place, joins among them: a ticket of a join throws {RangeError}. */
  readonly nodes: Tickets;
}

/** Counts are of members, kept in the same commit as what they count. */
export interface FlowCounts {
  readonly total: number;
  readonly blocked: number;
  readonly completed: number;
  readonly dead: number;
  readonly cancelled: number;
}

/** Everything known of a flow. */
export interface FlowView extends FlowCounts {
  readonly id: FlowId;
  readonly name?: string;
  readonly state: FlowState;
  /** It is `running`, and what has not ended is being cancelled. */
  readonly isCancelling: boolean;
  readonly createdAt: EpochMs;
  readonly settledAt?: EpochMs;
  /** When it may be pruned; absent while it is running or kept for ever. */
  readonly expiresAt?: EpochMs;
  /** Nodes that were given a key; from `get` only. */
  readonly keys?: ReadonlyMap<string, TaskId>;
}

/** Some of the flows that a list has. */
export interface FlowPage {
  readonly flows: readonly FlowView[];
  /** Give it as `after` for the next page; absent at the end. A page may be short before the end. */
  readonly after?: string;
}

/** How a flow ended: with it, all of its tasks are final. */
export interface SettledFlow extends FlowCounts {
  readonly id: FlowId;
  readonly state: FinalState;
}

/** What happened without a settlement that a claim would be told of; flushed. */
export type FlowNews =
  | {
      readonly kind: 'member';
      readonly id: TaskId;
      readonly name: string;
      readonly queue: string;
      readonly state: 'dead' | 'cancelled';
      readonly reason: string;
    }
  | { readonly kind: 'flow'; readonly flow: SettledFlow };

/** Who runs the tasks of a backend is told what its flows do by themselves. */
export interface FlowListener {
  /** A member that was let go is to run at this instant. */
  due(at: EpochMs): void;
  /** What had been put off for a later commit was done: counts may be others. */
  moved(): void;
  /** Whether anybody wants `news`; else none are made. */
  wantsNews(): boolean;
  news(news: readonly FlowNews[]): void;
}

export interface Flows {
  /** There is one listener; a later one takes its place. */
  listen(listener: FlowListener): void;

  /**
   * Begins to take a flow in.
   * @throws {InvalidArgumentError} {@link StoreFencedError}
   * @throws {QueueFullError} when too many flows are being taken in at once.
   */
  flow(head: FlowHead): FlowIntake;

  /** `undefined` when unknown, pruned or deleted. */
  get(id: FlowId): Promise<FlowView | undefined>;
  /** Newest first; at most `limit` (1 to 1,000). */
  list(limit: number, after?: string): Promise<FlowPage>;
  /**
   * Members in the order of their places, then those that were added.
   * @throws (rejects) {UnknownFlowError} {@link FlowExpiredError}
   */
  tasks(id: FlowId, limit: number, after?: string, depth?: Depth): Promise<Page>;
  /**
   * Resolves when the flow is final and that is flushed; at once when it already is.
   * @throws (rejects) {UnknownFlowError} {@link FlowExpiredError}
   */
  settled(id: FlowId): Promise<SettledFlow>;
  /**
   * The parents of a member under one label, in the order given, each followed by what it added to the flow.
   * A page holds at most `limit` (1 to {@link MAX_PARENTS_LISTED}) and, when there are more, about 1 MiB of
   * results. Under a label that it does not have it has none.
   * @throws (rejects) {UnknownTaskError} {@link ResultExpiredError} of the child
   */
  parents(child: TaskId, label: string, limit: number, after?: string): Promise<ParentsPage>;

  /**
   * Cancels what has not ended: nothing more is released. Resolves flushed; the members that wait are
   * cancelled by then or soon after, those that are running are returned, for the caller to abort. A running
   * one that comes back in any other way than final is cancelled, too.
   * @returns `undefined` when the flow is final already.
   * @throws (rejects) {UnknownFlowError} {@link FlowExpiredError}
   */
  cancel(id: FlowId, reason: string): Promise<{ readonly running: readonly Claim[] } | undefined>;
  /**
   * Sends every dead or cancelled member round again, its counts reset; those with parents that have not
   * completed are blocked again. One whose unique key another task holds by now stays as it is, and so does
   * what fails with it.
   * @throws (rejects) {WrongFlowStateError} when none is dead or cancelled, when it is being cancelled, or
   *   when it is large and has just been accepted · {@link UnknownFlowError} {@link FlowExpiredError}
   */
  redrive(id: FlowId): Promise<void>;
  /**
   * Removes a final flow with all its members.
   * @throws (rejects) {WrongFlowStateError} {@link UnknownFlowError} {@link FlowExpiredError}
   */
  delete(id: FlowId): Promise<void>;
}
