/**
 * The items that a child process runs. No memory is shared with it, so the host does for it what a thread
 * does for itself in its pages: takes each item by the same compare-and-swap in the moment it is sent, one at
 * a time, and writes how it ended. Whoever reads the pages sees no difference.
 */
import { serialize } from 'node:v8';
import {
  type EndedMessage,
  type ItemMessage,
  MAX_PLACES,
  markOf,
  type ToChild,
} from '../../workers/child-protocol.js';
import { FLAG, Page, STATE } from '../../workers/page.js';
import { type BatchMessage, type Note, ROW_HEADER_BYTES } from '../../workers/protocol.js';

/** Where a running item is. */
interface Running {
  readonly page: Page;
  readonly index: number;
  readonly run: number;
  ended(): void;
  died(error: Error): void;
}

/** What a batch said on its way, as a thread would remember it. */
interface Incoming {
  readonly message: BatchMessage;
  readonly page: Page;
  readonly names: readonly string[];
  readonly moved: Pick<ItemMessage, 'moved'>;
}

export interface ItemsHost {
  send(message: ToChild): void;
  /** Resolves when the child is not busy. */
  turn(): Promise<unknown>;
  /** On the clock of the deadlines. */
  now(): number;
  note(note: Note): void;
}

export class ChildItems {
  readonly #host: ItemsHost;
  readonly #pages = new Map<number, Page>();
  readonly #places: (Running | undefined)[] = [];
  #names: string[] = [];
  #runs = 0;
  #running = 0;
  #death: Error | undefined;

  constructor(host: ItemsHost) {
    this.#host = host;
  }

  /**
   * To be called in the order in which batches come; running them may wait.
   * @throws {DOMException} when a moved payload cannot be serialized.
   */
  take(message: BatchMessage): Incoming {
    if (message.blobs !== undefined) this.#host.send({ kind: 'blobs', setup: message.blobs });
    if (message.memory !== undefined) this.#pages.set(message.page, new Page(message.memory));
    if (message.resetNames === true) this.#names = [];
    if (message.names !== undefined) this.#names.push(...message.names);
    const page = this.#pages.get(message.page)!;
    page.cursor = 0;
    const { moved } = message;
    const bytes = moved === undefined ? {} : { moved: new Uint8Array(serialize(moved.value)) };
    return { message, page, names: this.#names, moved: bytes };
  }

  /** Resolves when every item has ended or was recalled; rejects when the child has died. */
  async run({ message, page, names, moved }: Incoming): Promise<void> {
    const { rows, count, fires } = message;
    const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
    let at = 0;
    for (let index = 0; index < count; index++) {
      const from = at;
      at += ROW_HEADER_BYTES + view.getUint32(from, true);
      // What runs beside it may be busy: until it can start it has not started, and can be taken back.
      if (this.#running > 0) await this.#host.turn();
      if (this.#death !== undefined) throw this.#death;
      const before = page.floats[index]!;
      page.floats[index] = this.#host.now();
      if (Atomics.compareExchange(page.ints, index, STATE.handed, STATE.started) !== STATE.handed) {
        page.floats[index] = before;
        continue;
      }
      const row = rows.slice(from, at);
      const name = names[view.getUint16(from + 4, true)]!;
      row[4] = 0;
      row[5] = 0;
      await new Promise<void>((ended, died) => {
        const run = this.#runs++;
        const place = this.#enter({ page, index, run, ended, died });
        const fire = fires?.[index];
        const schedule = fire === undefined ? {} : { schedule: fire };
        this.#host.send({ kind: 'item', place, run, name, row, ...moved, ...schedule });
      });
    }
  }

  /** Writes the outcome into the page; the state goes last. */
  ended({ place, bits, runMs, delayMs, bytes }: EndedMessage): void {
    const running = this.#places[place];
    if (running === undefined) return;
    const { page, index } = running;
    const { ints, floats } = page;
    let kind = bits;
    if (bytes !== undefined && page.cursor + bytes.length <= page.bytes.length) {
      page.bytes.set(bytes, page.cursor);
      ints[page.offset + index] = page.cursor;
      ints[page.length + index] = bytes.length;
      page.cursor += bytes.length;
    } else if (bytes !== undefined) {
      this.#host.note({ kind: 'result', page: page.id, index, bytes });
      kind |= FLAG.posted | FLAG.noted;
    }
    floats[page.endedAt + index] = floats[index]! + runMs;
    floats[page.delayMs + index] = delayMs;
    ints[page.kind + index] = kind;
    Atomics.store(ints, index, STATE.finished);
    this.#places[place] = undefined;
    this.#running--;
    running.ended();
  }

  /** The item at a place. */
  at(place: number): { readonly page: number; readonly index: number } | undefined {
    const running = this.#places[place];
    return running === undefined ? undefined : { page: running.page.id, index: running.index };
  }

  /** Place and mark of a running item whose abort the host has noted in its page. */
  aborted(page: number, index: number): { readonly place: number; readonly mark: number } | undefined {
    const place = this.#places.findIndex((each) => each?.page.id === page && each.index === index);
    if (place < 0) return undefined;
    const running = this.#places[place]!;
    return { place, mark: markOf(running.run, running.page.abortCode(index)) };
  }

  died(error: Error): void {
    this.#death = error;
    for (const running of this.#places.splice(0)) running?.died(error);
  }

  #enter(running: Running): number {
    const free = this.#places.indexOf(undefined);
    const place = free < 0 ? this.#places.length : free;
    if (place >= MAX_PLACES) throw new Error(`more than ${MAX_PLACES} tasks in one child process`);
    this.#places[place] = running;
    this.#running++;
    return place;
  }
}
