/** What the rest of the broker tells flows, and asks them, in the turn that is running. */
import type { FinalState, NewTask, TaskView } from '../../task/task.js';
import type { Settlement } from '../broker.js';
import type { TaskRecord } from './record.js';

export interface FlowHooks {
  /** Tasks that are no members, and some member waits for them. */
  readonly outside: ReadonlySet<string>;
  /** A task is final. @param record  Absent when it was no member. */
  ended(key: string, state: FinalState, record?: TaskRecord): void;
  /** A task that is no member goes round again: those that wait for it go on waiting. */
  redriven(key: string): void;
  redriveMember(record: TaskRecord): void;
  /** A blocked member is about to be cancelled. */
  unblock(record: TaskRecord): void;
  /** How the claim of a member really ends. */
  settlementOf(record: TaskRecord | undefined, settlement: Settlement): Settlement;
  /** Takes in what a member adds to its flow. @returns what is no concern of flows. */
  add(by: TaskRecord | undefined, tasks: readonly NewTask[]): readonly NewTask[];
  /** Whether this member is seen by nobody yet, or not any more. */
  isHidden(record: TaskRecord): boolean;
  /** For each label of a member, the first of its parents. */
  firstParentsOf(record: TaskRecord): TaskView['after'];
  /** The retention of a flow may have passed. */
  prune(key: string, now: number): void;
  /** Puts the rows of flows that changed. */
  flush(): void;
  /** Nothing will be done here any more. */
  end(error: Error): void;
}
