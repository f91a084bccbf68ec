/** What the next commit will make durable, gathered while the one before is in flight. */
import type { Settled } from '../broker.js';
import { Expiries } from './expiry.js';
import type { Segment } from './segment.js';
import type { Waiter } from './waiters.js';

export class Turn {
  acceptances = 0;
  acceptedBytes = 0;
  changes = 0;
  readonly newSegments: Segment[] = [];
  readonly touched = new Set<Segment>();
  readonly settled: { readonly waiting: readonly Waiter[]; readonly settled: Settled }[] = [];
  readonly expiries = new Expiries();
  /** Keys of records that must be flushed before they start. */
  readonly held = new Set<string>();
  readonly flushed: Promise<void>;
  resolve!: () => void;
  reject!: (error: Error) => void;

  constructor() {
    this.flushed = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.flushed.catch(() => {});
  }
}
