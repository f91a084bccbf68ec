/**
 * Nodes of a flow as they travel to the owner: tasks encoded, everything else plain data. Of what a client
 * sends only what a node may have is taken, if it is of the right type; values are checked where they go.
 */
import { InvalidArgumentError } from '../../errors.js';
import type { PlannedEdge, PlannedJoin } from '../../flow/types.js';
import type { EncodedTask } from '../../run/front.js';
import { WHEN_PARENT_DIES, type WhenParentDies } from '../../task/parents.js';

export type SentNode = SentTask | PlannedJoin;

export interface SentTask {
  readonly kind: 'task';
  readonly task: EncodedTask;
  readonly after: readonly PlannedEdge[];
  readonly whenParentDies: WhenParentDies;
  readonly key?: string;
}

/** @throws {InvalidArgumentError} */
export function receivedNode(given: unknown, taskOf: (given: unknown) => EncodedTask): SentNode {
  const node = objectOf(given, 'node');
  if (node.kind === 'join') return { kind: 'join', of: listOf(node.of, 'node.of').map(parentOf) };
  if (node.kind !== 'task') throw new InvalidArgumentError('node.kind', "'task' or 'join'", node.kind);
  const { whenParentDies, key } = node;
  if (!(WHEN_PARENT_DIES as readonly unknown[]).includes(whenParentDies)) {
    throw new InvalidArgumentError('node.whenParentDies', WHEN_PARENT_DIES.join(', '), whenParentDies);
  }
  if (key !== undefined && typeof key !== 'string')
    throw new InvalidArgumentError('node.key', 'a string', key);
  return {
    ...{ kind: 'task', task: taskOf(node.task), after: listOf(node.after, 'node.after').map(edgeOf) },
    whenParentDies: whenParentDies as WhenParentDies,
    ...(key === undefined ? {} : { key }),
  };
}

function edgeOf(given: unknown): PlannedEdge {
  const { label, from } = objectOf(given, 'node.after');
  if (typeof label !== 'string') throw new InvalidArgumentError('node.after.label', 'a string', label);
  return { label, from: fromOf(from) };
}

function parentOf(given: unknown): PlannedJoin['of'][number] {
  if (typeof given !== 'object') return fromOf(given);
  const { first, count } = objectOf(given, 'node.of');
  if (!isPlace(first) || !isPlace(count)) throw new InvalidArgumentError('node.of', 'places or ids of tasks');
  return { first, count };
}

function fromOf(from: unknown): number | string {
  if (isPlace(from) || typeof from === 'string') return from;
  throw new InvalidArgumentError('node.from', 'the place or the id of a task', from);
}

function isPlace(place: unknown): place is number {
  return Number.isSafeInteger(place) && (place as number) >= 0;
}

function listOf(given: unknown, at: string): readonly unknown[] {
  if (!Array.isArray(given)) throw new InvalidArgumentError(at, 'an array', given);
  return given;
}

function objectOf(given: unknown, at: string): Readonly<Record<string, unknown>> {
  if (typeof given !== 'object' || given === null) throw new InvalidArgumentError(at, 'an object', given);
  return given as Readonly<Record<string, unknown>>;
}
