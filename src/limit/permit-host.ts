/** What permits need of whoever keeps them: time, a place to write to, and somebody to tell. */
import type { Clock } from '../clock.js';

export interface PermitHost {
  readonly clock: Clock;
  /** Resolves flushed. @throws (rejects) when it could not be written; nothing is permitted by it then. */
  put(key: string, value: Uint8Array): Promise<unknown>;
  delete(key: string): Promise<unknown>;
  /** What was lacking may be there now. */
  changed(): void;
}
