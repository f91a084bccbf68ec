/** What an enqueue hands out: cheap objects that find their task when somebody asks. */
import { formatId, ID_BYTES } from '../../task/id.js';
import type { TaskId } from '../../task/task.js';
import type { Settled, SettledListener, Ticket } from '../broker.js';
import { writePlaceId } from './claim.js';
import type { Finals } from './finals.js';
import type { Segment } from './segment.js';

/** A task in a segment of this process: the segment knows first. */
export class PlaceTicket implements Ticket {
  readonly isNew = true;
  readonly #store: number;
  readonly #segment: Segment;
  readonly #index: number;
  readonly #finals: Finals;

  constructor(store: number, segment: Segment, index: number, finals: Finals) {
    this.#store = store;
    this.#segment = segment;
    this.#index = index;
    this.#finals = finals;
  }

  get id(): TaskId {
    return formatPlaceId(this.#store, this.#segment, this.#index);
  }

  settled(): Promise<Settled> {
    return this.#finals.settledAt(this.#segment, this.#index);
  }

  onSettled(tell: SettledListener): void {
    this.#finals.tellAt(this.#segment, this.#index, tell);
  }
}

/** A task that had a record from the start, or that was there before. */
export class IdTicket implements Ticket {
  readonly id: TaskId;
  readonly isNew: boolean;
  readonly #finals: Finals;

  constructor(id: TaskId, isNew: boolean, finals: Finals) {
    this.id = id;
    this.isNew = isNew;
    this.#finals = finals;
  }

  settled(): Promise<Settled> {
    return this.#finals.settled(this.id);
  }

  onSettled(tell: SettledListener): void {
    const told = (settled: Settled | Error): void => tell.told(settled);
    this.settled().then(told, told);
  }
}

/** A task of a staged batch; its id is among the bytes of many. */
export class StagedTicket implements Ticket {
  readonly isNew = true;
  readonly #ids: Uint8Array;
  readonly #at: number;
  readonly #finals: Finals;

  constructor(ids: Uint8Array, at: number, finals: Finals) {
    this.#ids = ids;
    this.#at = at;
    this.#finals = finals;
  }

  get id(): TaskId {
    return formatId(this.#ids, this.#at);
  }

  settled(): Promise<Settled> {
    return this.#finals.settledById(this.#ids.subarray(this.#at, this.#at + ID_BYTES));
  }

  onSettled(tell: SettledListener): void {
    const told = (settled: Settled | Error): void => tell.told(settled);
    this.settled().then(told, told);
  }
}

/** How a task ended that left nothing but its result; the text of its id is made when somebody asks. */
export class PlaceSettled implements Settled {
  readonly state = 'completed';
  readonly result: Uint8Array;
  readonly #store: number;
  readonly #segment: Segment;
  readonly #index: number;

  constructor(store: number, segment: Segment, index: number, result: Uint8Array) {
    this.#store = store;
    this.#segment = segment;
    this.#index = index;
    this.result = result;
  }

  get id(): TaskId {
    return formatPlaceId(this.#store, this.#segment, this.#index);
  }
}

function formatPlaceId(store: number, segment: Segment, index: number): TaskId {
  const bytes = new Uint8Array(ID_BYTES);
  writePlaceId(bytes, 0, store, segment, index);
  return formatId(bytes);
}
