/** What is refused of a flow before anything of it is stored. Knows the nodes that came before, by place. */
import { InvalidArgumentError, UnknownTaskError, UnsupportedError } from '../../../errors.js';
import { parseId } from '../../../task/id.js';
import type { NewTask } from '../../../task/task.js';
import {
  type FlowHead,
  type FlowNode,
  type From,
  type JoinNode,
  MAX_FLOW_KEYS,
  MAX_FLOW_NODES,
  MAX_LABEL_CHARS,
  MAX_NODES_AT_ONCE,
  MAX_TASK_PARENTS,
  type TaskNode,
} from '../../flows.js';

const POLICIES = ['fail', 'run', 'wait'];
const FINAL_STATES = ['completed', 'dead', 'cancelled'] as const;

export function checkHead({ name, retentionMs }: FlowHead): void {
  if (name !== undefined) checkText('head.name', name);
  for (const state of FINAL_STATES) {
    const ms = retentionMs[state];
    if (!(ms >= 0))
      throw new InvalidArgumentError(`head.retentionMs.${state}`, 'milliseconds, at least 0', ms);
  }
}

export class FlowChecks {
  #count = 0;
  /** Places of joins; true for those that something waits for. */
  readonly #joins = new Map<number, boolean>();
  readonly keys = new Map<string, number>();
  #unawaited = 0;

  /** @throws {InvalidArgumentError} {@link UnsupportedError} {@link UnknownTaskError} */
  check(nodes: readonly FlowNode[]): void {
    if (nodes.length > MAX_NODES_AT_ONCE) {
      throw new InvalidArgumentError('nodes', `at most ${MAX_NODES_AT_ONCE} at once`, nodes.length);
    }
    if (this.#count + nodes.length > MAX_FLOW_NODES) {
      throw new InvalidArgumentError('nodes', `at most ${MAX_FLOW_NODES} in one flow`);
    }
    for (const node of nodes) {
      const where = `nodes[${this.#count}]`;
      if (node.kind === 'task') this.#checkTask(node, where);
      else this.#checkJoin(node, where);
      this.#count++;
    }
  }

  /** @throws {InvalidArgumentError} */
  checkEnd(): void {
    if (this.#count === 0) throw new InvalidArgumentError('nodes', 'at least one');
    if (this.#unawaited === 0) return;
    const [place] = [...this.#joins].find(([, isAwaited]) => !isAwaited)!;
    throw new InvalidArgumentError(`nodes[${place}]`, 'a join that something waits for');
  }

  #checkTask({ task, after = [], whenParentDies = 'fail', key }: TaskNode, where: string): void {
    if (task.transfer !== undefined)
      throw new UnsupportedError('transfer in flows', 'a member may run again');
    if (!POLICIES.includes(whenParentDies)) {
      throw new InvalidArgumentError(`${where}.whenParentDies`, "'fail', 'run' or 'wait'", whenParentDies);
    }
    if (after.length > MAX_TASK_PARENTS) {
      throw new InvalidArgumentError(`${where}.after`, `at most ${MAX_TASK_PARENTS}; more need a join`);
    }
    for (const { label, from } of after) {
      checkText(`${where}.after.label`, label);
      this.#checkFrom(from, `${where}.after.${label}`);
      if (typeof from === 'number' && this.#joins.get(from) === false) {
        this.#joins.set(from, true);
        this.#unawaited--;
      }
    }
    if (key === undefined) return;
    checkText(`${where}.key`, key);
    if (this.keys.has(key)) throw new InvalidArgumentError(`${where}.key`, 'of one node only', key);
    if (this.keys.size >= MAX_FLOW_KEYS) {
      throw new InvalidArgumentError(`${where}.key`, `one of at most ${MAX_FLOW_KEYS}`);
    }
    this.keys.set(key, this.#count);
  }

  #checkJoin({ of }: JoinNode, where: string): void {
    for (const each of of) {
      if (typeof each !== 'object') {
        this.#checkFrom(each, `${where}.of`);
        if (typeof each === 'number') this.#checkNoJoin(each, 1, where);
        continue;
      }
      const { first, count } = each;
      if (
        !isPlace(first, this.#count) ||
        !Number.isInteger(count) ||
        count < 1 ||
        first + count > this.#count
      ) {
        throw new InvalidArgumentError(`${where}.of`, 'places of earlier nodes', `${first} + ${count}`);
      }
      this.#checkNoJoin(first, count, where);
    }
    this.#joins.set(this.#count, false);
    this.#unawaited++;
  }

  #checkNoJoin(first: number, count: number, where: string): void {
    if (this.#joins.size === 0) return;
    for (let place = first; place < first + count; place++) {
      if (this.#joins.has(place)) throw new InvalidArgumentError(`${where}.of`, 'tasks, not joins', place);
    }
  }

  #checkFrom(from: From, where: string): void {
    if (typeof from === 'string') {
      if (parseId(from) === undefined) throw new UnknownTaskError(from);
    } else if (!isPlace(from, this.#count)) {
      throw new InvalidArgumentError(where, 'the place of an earlier node', from);
    }
  }
}

/** Ids of tasks that nodes wait for and that are no members. */
export function* outsideOf(nodes: readonly FlowNode[]): Iterable<string> {
  for (const node of nodes) {
    const froms = node.kind === 'task' ? (node.after ?? []).map(({ from }) => from) : node.of;
    for (const from of froms) if (typeof from === 'string') yield from;
  }
}

export function tasksOf(nodes: readonly FlowNode[]): NewTask[] {
  return nodes.flatMap((node) => (node.kind === 'task' ? [node.task] : []));
}

/** Nodes and edges. */
export function rowsOf(node: FlowNode): number {
  if (node.kind === 'task') return 1 + (node.after?.length ?? 0);
  return node.of.reduce<number>((sum, each) => sum + (typeof each === 'object' ? each.count : 1), 1);
}

export function bytesOf(nodes: readonly FlowNode[]): number {
  return nodes.reduce((bytes, node) => bytes + (node.kind === 'task' ? node.task.body.length : 0), 0);
}

function isPlace(value: number, before: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < before;
}

function checkText(where: string, text: string): void {
  if (typeof text !== 'string' || text.length === 0 || text.length > MAX_LABEL_CHARS) {
    throw new InvalidArgumentError(where, `1 to ${MAX_LABEL_CHARS} characters`, text);
  }
}
