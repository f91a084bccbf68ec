/** What a runtime is in its folder: the owner (`owning.ts`), or one that joins and owns it later. */
import type { StopOptions } from './options/types.js';
import type { Desk } from './run/desk.js';
import type { StopReport } from './run/stopping.js';

export interface Standing {
  /** Of whoever owns the tasks. */
  readonly desk: Desk;
  /** Tasks may start from now on; idempotent. */
  start(): void;
  /** Adds a module to its threads. @throws (rejects) {TasksModuleError} {@link StoppedError} */
  register(module: string): Promise<void>;
  /** A second call returns the promise of the first. */
  stop(options: Required<StopOptions>): Promise<StopReport>;
  /** Ends the grace of a stop under way. */
  hurry(): void;
}
