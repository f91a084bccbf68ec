/** What a desk of the process that owns the tasks stands on. */
import type { Backend } from '../broker/broker.js';
import type { RuntimeOptions } from '../options/types.js';
import type { Pool } from '../pool/pool.js';
import type { Coordinator } from './coordinator.js';
import type { RunningItem } from './running-item.js';

export interface DeskParts {
  readonly backend: Backend;
  readonly pool: Pool<RunningItem>;
  readonly coordinator: Coordinator;
  readonly options: RuntimeOptions;
  /** It owns the tasks and runs none; what the functions of the host are is not known. */
  readonly isCaretaker?: true;
}
