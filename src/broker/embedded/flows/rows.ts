/**
 * What is stored of flows. A flow's nodes, tasks and joins alike, take the places of segments of their own
 * (`chunks`), in the order in which they were given; so a node's key says where it stands, and all that
 * belongs to a flow is in a few ranges of keys. Members are records; a member that waits is `blocked`.
 *
 *     flow    [flow 6]                               the flow: head, counters, chunks
 *     flow    [flow 6]k                              the keys of its nodes
 *     node    [node 8]                               a blocked task, or a join: what it still waits for
 *     edge    [parent 8][child 8]                    [status u8] then per place [label u16][nth u32]
 *     parent  [child 8][label 2][nth 4][added 4]     the parent's id, or the key of a join
 *     work    w[parent 8]                            a walk over edges: [state of the parent u8][cursor]
 *     work    f[flow 6]                              what is done to a flow: [errand u8][cursor]
 *     work    o[parent 8]                            a task that is no member, and some member waits for it
 *
 * An edge is `open` while the child waits for the parent, `died` when the parent ended badly and the child
 * waits all the same (or is about to fail), `done` when it does not wait for it any more. A node row counts
 * the edges to its node that are not `done`, and among them those that are `died`. Edges to a task without a
 * node row say nothing: it is not blocked.
 */
import { StoreCorruptError } from '../../../errors.js';
import { decodeValue, encodeValue } from '../../../task/codec.js';
import { ID_BYTES } from '../../../task/id.js';
import type { WhenParentDies } from '../../../task/parents.js';
import type { RetentionMs } from '../../../task/task-options.js';
import { readU48, taskKey, u16, u48 } from '../keys.js';
import { HEADER_BYTES, ROW, readHeader, sealRow } from '../rows.js';

/** Nodes of one chunk; the last index is left for the id of the flow. */
export const CHUNK_NODES = 65_535;
export const NODE_KEY_CHARS = 8;

/** `staging` and `deleted` ones are seen by nobody. The last three are final. */
export type Phase =
  | 'staging'
  | 'running'
  | 'cancelling'
  | 'redriving'
  | 'completed'
  | 'dead'
  | 'cancelled'
  | 'deleted';

export interface Flow {
  /** That of its first chunk. */
  readonly number: number;
  /** `''` for none. */
  readonly name: string;
  readonly retentionMs: RetentionMs;
  readonly createdAt: number;
  /** Numbers of the segments whose places its nodes take, ascending. */
  readonly chunks: readonly number[];
  /** Tasks and joins, and how many of them came with the flow: the rest were added by members. */
  readonly nodes: number;
  readonly planned: number;
  readonly phase: Phase;
  /** Why it is, or was, cancelled. */
  readonly reason: string;
  readonly total: number;
  readonly blocked: number;
  readonly completed: number;
  readonly dead: number;
  readonly cancelled: number;
  /** Members that nothing in the flow waits for, and that are dead or cancelled. */
  readonly deadEnds: number;
  readonly cancelledEnds: number;
  readonly settledAt: number;
  readonly expiresAt: number;
}

/** Order of a flow's values as they are stored: append only. */
const FIELDS = [
  'number',
  'name',
  'retentionMs',
  'createdAt',
  'chunks',
  'nodes',
  'planned',
  'phase',
  'reason',
  'total',
  'blocked',
  'completed',
  'dead',
  'cancelled',
  'deadEnds',
  'cancelledEnds',
  'settledAt',
  'expiresAt',
] as const satisfies readonly (keyof Flow)[];

export function sealFlow(flow: Flow): Buffer {
  return sealRow(ROW.flow, encodeValue(FIELDS.map((field) => flow[field])));
}

/** @throws {StoreCorruptError} */
export function openFlow(bytes: Uint8Array, where: string): Flow {
  const { row } = readHeader(bytes, where, ROW.flow);
  const values = decodeValue(row.subarray(HEADER_BYTES)) as unknown[];
  return Object.fromEntries(FIELDS.map((field, at) => [field, values[at]])) as unknown as Flow;
}

export function sealKeys(keys: ReadonlyMap<string, Uint8Array>): Buffer {
  return sealRow(ROW.flow, encodeValue(keys));
}

/** Ids of tasks, by the keys of their nodes. @throws {StoreCorruptError} */
export function openKeys(bytes: Uint8Array, where: string): ReadonlyMap<string, Uint8Array> {
  const { row } = readHeader(bytes, where, ROW.flow);
  return decodeValue(row.subarray(HEADER_BYTES)) as ReadonlyMap<string, Uint8Array>;
}

/** What a node still waits for. */
export interface Node {
  readonly kind: NodeKind;
  readonly flow: number;
  /** Edges to it that are not done. */
  open: number;
  /** Among them, those whose parent died. */
  died: number;
}

export type NodeKind = 'join' | WhenParentDies;
/** The index is stored: append only. */
const NODE_KINDS: readonly NodeKind[] = ['join', 'fail', 'run', 'wait'];

const NODE_BYTES = 15;

export function sealNode({ kind, flow, open, died }: Node): Buffer {
  const row = Buffer.allocUnsafe(NODE_BYTES);
  row[0] = NODE_KINDS.indexOf(kind);
  row.writeUInt32BE(open, 1);
  row.writeUInt32BE(died, 5);
  row.write(u48(flow), 9, 'latin1');
  return row;
}

/** @throws {StoreCorruptError} */
export function openNode(bytes: Uint8Array, where: string): Node {
  const row = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = NODE_KINDS[row[0]!];
  if (kind === undefined || row.length !== NODE_BYTES)
    throw new StoreCorruptError(where, 'the row of a task that waits has an unknown format');
  const flow = readU48(row.toString('latin1', 9, 15), 0);
  return { kind, flow, open: row.readUInt32BE(1), died: row.readUInt32BE(5) };
}

export const STATUS = { open: 0, died: 1, done: 2 } as const;
export type Status = (typeof STATUS)[keyof typeof STATUS];

/** Where a parent stands among the parents of a child. */
export interface Position {
  /** Index among the child's labels. */
  readonly label: number;
  readonly nth: number;
}

const POSITION_BYTES = 6;

export function sealEdge(status: Status, positions: readonly Position[]): Buffer {
  const row = Buffer.allocUnsafe(1 + positions.length * POSITION_BYTES);
  row[0] = status;
  positions.forEach(({ label, nth }, at) => {
    row.writeUInt16BE(label, 1 + at * POSITION_BYTES);
    row.writeUInt32BE(nth, 3 + at * POSITION_BYTES);
  });
  return row;
}

export function withStatus(row: Uint8Array, status: Status): Uint8Array {
  const copy = Uint8Array.from(row);
  copy[0] = status;
  return copy;
}

/** @throws {StoreCorruptError} */
export function statusOf(row: Uint8Array, where: string): Status {
  const status = row[0];
  if (status === undefined || status > STATUS.done || row.length % POSITION_BYTES !== 1)
    throw new StoreCorruptError(where, 'the row of what a task waits for has an unknown format');
  return status as Status;
}

/** The same edge, with these places beside those that it has. */
export function withPositions(row: Uint8Array, more: readonly Position[]): Uint8Array {
  const positions = positionsOf(row);
  const isNew = ({ label, nth }: Position): boolean =>
    !positions.some((each) => each.label === label && each.nth === nth);
  return sealEdge(row[0] as Status, [...positions, ...more.filter(isNew)]);
}

export function positionsOf(bytes: Uint8Array): Position[] {
  const row = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const positions: Position[] = [];
  for (let at = 1; at < row.length; at += POSITION_BYTES) {
    positions.push({ label: row.readUInt16BE(at), nth: row.readUInt32BE(at + 2) });
  }
  return positions;
}

/** The key of the node in this place, when each chunk holds so many. */
export function nodeKey(chunks: readonly number[], place: number, size: number): string {
  return taskKey(chunks[Math.floor(place / size)]!, place % size);
}

/** All parents under a label begin with this. */
export function labelPrefix(child: string, label: number): string {
  return child + u16(label);
}

/** A parent, and behind it (`added` from 1) what it added to the flow. */
export function parentKey(child: string, { label, nth }: Position, added = 0): string {
  return labelPrefix(child, label) + u32(nth) + u32(added);
}

/** A parent as it is stored: the id of a task, or the key of a join. @throws {StoreCorruptError} */
export function openParent(
  value: Uint8Array,
  where: string,
): { readonly id: Uint8Array } | { readonly join: string } {
  if (value.length === ID_BYTES) return { id: value };
  if (value.length === NODE_KEY_CHARS) return { join: Buffer.from(value).toString('latin1') };
  throw new StoreCorruptError(where, 'the row of a parent has an unknown format');
}

/** The last two numbers of a {@link parentKey}. */
export function nthOf(key: string): number {
  return readU48(`\0\0${key.slice(-8, -4)}`, 0);
}
export function addedOf(key: string): number {
  return readU48(`\0\0${key.slice(-4)}`, 0);
}

function u32(value: number): string {
  return u48(value).slice(2);
}

/** What a parent is to its children. A join is `broken` while one of its parents died and others are open. */
export type ParentState = 'open' | 'broken' | 'died' | 'completed';
/** The index is stored: append only. */
export const PARENT_STATES: readonly ParentState[] = ['open', 'broken', 'died', 'completed'];

export function joinState({ open, died }: Node): ParentState {
  if (open === 0) return 'completed';
  if (died === 0) return 'open';
  return open === died ? 'died' : 'broken';
}

/** What an edge becomes when its parent is in this state. */
export function statusFor(state: ParentState, kind: NodeKind): Status {
  if (state === 'completed') return STATUS.done;
  if (state === 'died') return kind === 'run' ? STATUS.done : STATUS.died;
  return state === 'broken' && kind === 'fail' ? STATUS.died : STATUS.open;
}

/** What becomes of a blocked task. */
export function fateOf({ kind, open, died }: Node): 'fails' | 'goes' | 'waits' {
  if (kind === 'fail' && died > 0) return 'fails';
  return open === 0 && kind !== 'join' ? 'goes' : 'waits';
}
