/** A task in the hands of the dispatcher: a view of its place in a segment, read only where somebody asks. */

import { formatId, ID_BYTES } from '../../task/id.js';
import { FRESH, type Tally, type TransferredPayload } from '../../task/task.js';
import type { TaskOptions } from '../../task/task-options.js';
import type { Claim } from '../broker.js';
import { putU48, taskKey } from './keys.js';
import { decodeMeta, type TaskMeta, type TaskRecord } from './record.js';
import type { Segment } from './segment.js';

const NO_META: TaskMeta = Object.freeze({});

/** Id flag: the task's segment is not in lane 0; `place` tells the lane. */
export const FLAG_LANE = 1;
/** Id flag: the task had a record from the start (delayed at enqueue). */
export const FLAG_RECORD = 2;

/** Id flag: not a task but a flow. */
const FLAG_FLOW = 4;
/** Index in ids of flows; no task has it. */
const FLOW_INDEX = 65_535;

/** What a claim needs of the broker it came from. */
export interface ClaimSource {
  readonly storeNumber: number;
  readonly transfers: ReadonlyMap<string, TransferredPayload>;
  taskName(index: number): string;
}

export class EmbeddedClaim implements Claim {
  readonly segment: Segment;
  readonly index: number;
  readonly record: TaskRecord | undefined;
  readonly name: string;
  readonly #source: ClaimSource;
  /** Settled or given back: a later settlement is refused. */
  isOver = false;
  holder: unknown;
  #meta: TaskMeta | undefined;

  constructor(segment: Segment, index: number, source: ClaimSource) {
    this.segment = segment;
    this.index = index;
    this.record = segment.isRefs ? segment.records[index] : undefined;
    this.name = this.record?.name ?? source.taskName(segment.nameAt(index));
    this.#source = source;
  }

  /** Key of the task's record, whether it has one yet or not. */
  get key(): string {
    return this.record === undefined
      ? taskKey(this.segment.number, this.index)
      : taskKey(this.record.segment, this.record.index);
  }

  get queue(): string {
    return this.segment.line.line.queueName;
  }
  get lane(): string {
    return this.segment.line.line.laneName;
  }
  get limitLane(): string {
    const { lane } = this.meta;
    if (lane !== undefined || this.record !== undefined) return lane ?? '';
    const { line } = this.segment.line;
    return line.kind === 'limit' ? line.laneName : '';
  }
  get level(): number {
    return this.segment.line.level;
  }
  get rank(): number {
    return this.level;
  }
  get meta(): TaskMeta {
    if (this.#meta === undefined) {
      if (this.record !== undefined) this.#meta = this.record.meta;
      else if (this.segment.metaBytesAt(this.index) === 0) this.#meta = NO_META;
      else this.#meta = decodeMeta(this.segment.metaAt(this.index));
    }
    return this.#meta;
  }
  get staleAt(): number | undefined {
    return this.meta.staleAt;
  }
  get options(): TaskOptions | undefined {
    return this.meta.options;
  }
  get schedule(): TaskMeta['schedule'] {
    return this.meta.schedule;
  }
  get suspect(): boolean {
    return this.segment.suspects?.has(this.index) ?? false;
  }
  get hasCrashed(): boolean {
    return this.record !== undefined && this.record.tally.crashes > 0;
  }
  get bodyBytes(): number {
    return this.record === undefined ? this.segment.bodyBytesAt(this.index) : this.record.body.length;
  }
  get body(): Uint8Array {
    return this.record === undefined ? this.segment.bodyAt(this.index) : this.record.body;
  }
  copyBody(target: Uint8Array, at: number): void {
    if (this.record === undefined) this.segment.copyBody(this.index, target, at);
    else target.set(this.record.body, at);
  }
  get createdAt(): number {
    return this.record?.createdAt ?? this.segment.createdAt;
  }
  get tally(): Tally {
    return this.record?.tally ?? FRESH;
  }
  get attempt(): number {
    return this.record === undefined ? 1 : this.record.tally.failures + this.record.tally.crashes + 1;
  }
  get transfer(): TransferredPayload | undefined {
    return this.#source.transfers.size === 0 ? undefined : this.#source.transfers.get(this.key);
  }
  get flow(): string | undefined {
    const number = this.record?.meta.flow?.number;
    return number === undefined ? undefined : flowIdOf(this.#source.storeNumber, number);
  }
  get id(): string {
    return formatId(this.idBytes());
  }

  idBytes(): Uint8Array {
    if (this.record !== undefined) return this.record.idBytes;
    const bytes = new Uint8Array(ID_BYTES);
    this.writeId(bytes, 0);
    return bytes;
  }

  writeId(target: Uint8Array, at: number): void {
    if (this.record !== undefined) target.set(this.record.idBytes, at);
    else writePlaceId(target, at, this.#source.storeNumber, this.segment, this.index);
  }
}

/** Of a level that goes first because it was passed over for long. */
export class AgedClaim extends EmbeddedClaim {
  override get rank(): number {
    return 9;
  }
}

/** The id of a task that was born in a segment. */
export function writePlaceId(
  target: Uint8Array,
  at: number,
  store: number,
  segment: Segment,
  index: number,
): void {
  const { line, level } = segment.line;
  writeId(target, at, {
    store,
    segment: segment.number,
    index,
    queue: line.queue,
    level,
    flags: line.laneName === '' ? 0 : FLAG_LANE,
  });
}

/** The id of a flow, whose number is that of the first segment of its nodes. */
export function flowIdOf(store: number, number: number): string {
  const bytes = new Uint8Array(ID_BYTES);
  writeId(bytes, 0, { store, segment: number, index: FLOW_INDEX, queue: 0, level: 0, flags: FLAG_FLOW });
  return formatId(bytes);
}

export function isFlow({ flags }: IdParts): boolean {
  return (flags & FLAG_FLOW) !== 0;
}

export interface IdParts {
  readonly store: number;
  readonly segment: number;
  readonly index: number;
  readonly queue: number;
  readonly level: number;
  readonly flags: number;
}

export function writeId(target: Uint8Array, at: number, id: IdParts): void {
  target[at] = id.store >>> 24;
  target[at + 1] = (id.store >>> 16) & 255;
  target[at + 2] = (id.store >>> 8) & 255;
  target[at + 3] = id.store & 255;
  putU48(target, id.segment, at + 4);
  target[at + 10] = id.index >>> 8;
  target[at + 11] = id.index & 255;
  target[at + 12] = id.queue >>> 8;
  target[at + 13] = id.queue & 255;
  target[at + 14] = id.level;
  target[at + 15] = id.flags;
}

export function readId(bytes: Uint8Array): IdParts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    store: view.getUint32(0),
    segment: view.getUint16(4) * 4294967296 + view.getUint32(6),
    index: view.getUint16(10),
    queue: view.getUint16(12),
    level: bytes[14]!,
    flags: bytes[15]!,
  };
}
