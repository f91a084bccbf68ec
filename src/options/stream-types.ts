/** What `map`, `writable` and `transform` take. Bounds and defaults are in `stream-table.ts`. */
import type { EnqueueOptions } from './types.js';

/** What the enqueues of many items have in common. Each waits for room where `whenFull` is not given. */
export type OptionsOfEach = Omit<EnqueueOptions, 'unique' | 'transfer' | 'signal'>;

/** What `runtime.writable` takes. */
export interface WritableOptions {
  /** Tasks that are on their way to be accepted. */
  readonly concurrency?: number;
  readonly options?: OptionsOfEach;
  /** Destroys the stream when aborted; accepted tasks stay. */
  readonly signal?: AbortSignal;
  /** A Web stream instead of one of Node. */
  readonly web?: boolean;
}

/** What `runtime.map` takes. */
export interface MapOptions {
  /** Items between source and consumer: in flight, or finished and not taken. */
  readonly concurrency?: number;
  /** Results in the order of the items, else as they come. */
  readonly ordered?: boolean;
  readonly options?: OptionsOfEach;
  /** Ends it when aborted; what is in flight is cancelled. */
  readonly signal?: AbortSignal;
}

/** What `runtime.transform` takes. */
export interface TransformOptions extends MapOptions {
  /** A Web stream instead of one of Node. */
  readonly web?: boolean;
}

/** Any of these after their check; `concurrency` is the caller's to fill in. */
export interface CheckedTransformOptions {
  readonly concurrency: number | undefined;
  readonly ordered: boolean;
  readonly options: OptionsOfEach | undefined;
  readonly signal: AbortSignal | undefined;
  readonly web: boolean;
}
