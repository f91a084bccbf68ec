/**
 * A page: the memory that a thread and its host share while one batch is out. The thread writes each result
 * as it finishes, so the host can collect finished items at any time, also when the thread has died, and the
 * message that ends a batch carries nothing. Both sides use this file; it decides nothing.
 *
 * ```
 * control  Int32    state × items │ kind × items │ offset × items │ length × items │ abort × items
 *          Float64  startedAt × items │ endedAt × items │ delayMs × items
 * bytes    Uint8    results and errors, one after the other
 * ```
 *
 * `state` is the only field read and written with Atomics by both sides: everything else of an item is
 * written before its state and read after it. `abort` is written by the host alone.
 */

/**
 * Values of `state`. The steps from `handed` are compare-and-swaps: the thread's to started, the host's to
 * recalled.
 */
export const STATE = { handed: 0, started: 1, recalled: 2, finished: 3 } as const;

/** Values in the low bits of `kind`. */
export const KIND = { completed: 1, failed: 2, snoozed: 3 } as const;
export const KIND_MASK = 0x07;

/** Further bits of `kind`. */
export const FLAG = {
  /** The handler, or a bad payload or result, said that another attempt is pointless. */
  notRetryable: 0x08,
  invalidPayload: 0x10,
  /** The bytes did not fit into the page and went over the control port. */
  posted: 0x20,
  /** Notes about this item went over the control port (progress, logs, enqueues). */
  noted: 0x40,
} as const;

/** Where `kind` keeps the value of `abort` that the thread saw when the item ended. */
export const SEEN_SHIFT = 8;

/** Values of `abort`; 0 is none. */
export const ABORT_REASONS = ['timed-out', 'cancelled', 'stopped'] as const;

/** A page as it is sent to the thread, once. */
export interface PageMemory {
  readonly id: number;
  readonly items: number;
  readonly control: SharedArrayBuffer;
  readonly bytes: SharedArrayBuffer;
}

const INT_FIELDS = 5;
const FLOAT_FIELDS = 3;

/** Room of a page. */
export interface PageSize {
  readonly items: number;
  /** Bytes for results; what does not fit goes over the control port. */
  readonly bytes: number;
}
export const SERIAL_PAGE: PageSize = { items: 256, bytes: 262_144 };
export const PARALLEL_PAGE: PageSize = { items: 1, bytes: 16_384 };

/** New shared memory for `size.items` items. */
export function allocatePage(id: number, size: PageSize): PageMemory {
  const intBytes = Math.ceil((size.items * INT_FIELDS) / 2) * 8;
  return {
    id,
    items: size.items,
    control: new SharedArrayBuffer(intBytes + size.items * FLOAT_FIELDS * 8),
    bytes: new SharedArrayBuffer(size.bytes),
  };
}

/** One side's view of a page. Fields are at `field + index`. */
export class Page {
  readonly id: number;
  readonly items: number;
  readonly memory: PageMemory;
  readonly ints: Int32Array;
  readonly floats: Float64Array;
  readonly bytes: Uint8Array;
  readonly kind: number;
  readonly offset: number;
  readonly length: number;
  readonly abort: number;
  readonly endedAt: number;
  readonly delayMs: number;
  /** Where the thread writes next; not shared. */
  cursor = 0;

  constructor(memory: PageMemory) {
    const { items } = memory;
    this.id = memory.id;
    this.items = items;
    this.memory = memory;
    this.ints = new Int32Array(memory.control, 0, items * INT_FIELDS);
    this.floats = new Float64Array(memory.control, memory.control.byteLength - items * FLOAT_FIELDS * 8);
    this.bytes = new Uint8Array(memory.bytes);
    this.kind = items;
    this.offset = items * 2;
    this.length = items * 3;
    this.abort = items * 4;
    this.endedAt = items;
    this.delayMs = items * 2;
  }

  /** Index of the reason in `ABORT_REASONS`, from 1; 0 is none. */
  abortCode(index: number): number {
    return Atomics.load(this.ints, this.abort + index);
  }

  /** Makes the first `items` places fresh. The thread must be done with the last batch of this page. */
  reset(items: number): void {
    const { ints, floats } = this;
    for (let field = 0; field < INT_FIELDS; field++)
      ints.fill(0, field * this.items, field * this.items + items);
    floats.fill(0, 0, items);
    this.cursor = 0;
  }
}
