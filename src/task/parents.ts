/** The parents of a task: as its handler reads them, and as host and worker tell each other. Types. */
import type { StoredError } from './stored-error.js';
import type { FinalState, TaskId, TaskState } from './task.js';

/** What `context.parents` takes beside a label. */
export interface ParentsOptions {
  /** Yields a {@link ParentOutcome} for each parent, and throws nothing at one that died. */
  readonly outcomes?: boolean;
}

/** How a parent ended; plain data, as far as its result is. `error` is that of the last attempt. */
export type ParentOutcome<Result = unknown> =
  | { readonly id: TaskId; readonly state: 'completed'; readonly result: Result }
  | {
      readonly id: TaskId;
      readonly state: 'dead';
      readonly reason: string;
      readonly error: StoredError | undefined;
    }
  | { readonly id: TaskId; readonly state: 'cancelled'; readonly reason: string }
  /** It was enqueued without a flow and is no longer kept, or it has been redriven meanwhile. */
  | { readonly id: TaskId; readonly state: 'expired' | Exclude<TaskState, FinalState> };

/** What a worker asks its host for: the next of the parents under a label. */
export interface ParentsRequest {
  readonly label: string;
  /** From the page before. */
  readonly after?: string;
}

/** Some of the parents under a label, in order; `after` is absent with the last. */
export interface ParentsPage {
  readonly parents: readonly ParentView[];
  readonly after?: string;
}

/** One parent as it is stored: a large result is a reference (`blob-ref.ts`). */
export interface ParentView {
  readonly id: TaskId;
  /** Not final when it has been redriven meanwhile; `expired` when it is of no flow and no longer kept. */
  readonly state: TaskState | 'expired';
  readonly result?: Uint8Array;
  readonly reason?: string;
  /** Of the last attempt of a dead one. */
  readonly error?: StoredError;
}

/** The parents under one label, fetched while they are read. */
export interface ParentResults<Value> extends AsyncIterable<Value> {
  /** The first of them. @throws (rejects) {@link InvalidArgumentError} when there is none. */
  first(): Promise<Value>;
}
