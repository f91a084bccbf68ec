/** What is decided on, in which order claims go, and what they are. Part of the port `Broker`. */
import type { EpochMs } from '../clock.js';
import type { NewTask, Tally, TaskId } from '../task/task.js';
import type { TaskOptions } from '../task/task-options.js';
import type { FlowId } from './flows.js';

/** What `accept` decides on: the task that would be claimed next in its line. */
export interface Head {
  readonly name: string;
  readonly queue: string;
  /** The lane that it stands in; see `task/lane.ts`. */
  readonly lane: string;
  /** The lane of limited tasks that it belongs to, wherever it stands; `''` when there is none. */
  readonly limitLane: string;
  readonly level: number;
  /** The level that it counts as when others make way for it: 9 when ageing put it first. */
  readonly rank: number;
  readonly staleAt: EpochMs | undefined;
  readonly options: TaskOptions | undefined;
  /** A dead owner had handed it over, or it ran beside others when their thread died: run it alone. */
  readonly suspect: boolean;
  /** A thread or child has died under it. */
  readonly hasCrashed: boolean;
  /** 0 where the payload was moved in. */
  readonly bodyBytes: number;
}

/**
 * `take` it · `skip` its line this time, at all levels · `skipQueue`: all lines of its queue this time ·
 * `hold` its line out of all claims until it is resumed · `park` it aside because nobody handles its name
 * (`skip` when it is aside already) · move it `aside` to another line (`skip` when it stands there already) ·
 * `pass` over this suspect, and over all others in this claim, but not over what stands behind them · `stop`
 * claiming.
 *
 * A line that is skipped is asked for again in each claim; one that is held costs nothing.
 */
export type Verdict = 'take' | 'skip' | 'skipQueue' | 'hold' | 'park' | 'pass' | 'stop' | Aside;

/**
 * The lane of its queue that a task belongs to from now on: it was enqueued before its name had limits, or
 * stands aside although its name is handled by now. It joins that line at the end.
 */
export interface Aside {
  readonly aside: string;
}

/** What the order of claims depends on beside the tasks themselves. */
export interface OrderRules {
  /** How many claims a lane of limited tasks gets in each turn: a positive integer. */
  weightOf(queue: string, lane: string): number;
  /**
   * Whether a claim from this line could succeed: asked before its head is read from the store. No is a
   * `hold`, so whoever says so resumes the line later.
   */
  isOpen(queue: string, lane: string): boolean;
  readonly ageing?: Ageing;
}

export interface Ageing {
  /**
   * After so many claims that passed over a level which has tasks, its best one goes first. At most 9 more
   * come between, when other levels have waited as long.
   */
  readonly afterStarts: number;
}

/** A task in the hands of this owner until it is settled. */
export interface Claim extends Head {
  readonly id: TaskId;
  /** It has been settled or given back. */
  readonly isOver: boolean;
  /** Encoded payload: a view made for each call. */
  readonly body: Uint8Array;
  /** Writes the encoded payload without making a view of it. */
  copyBody(target: Uint8Array, at: number): void;
  readonly createdAt: EpochMs;
  readonly tally: Tally;
  /** From 1: failures and crashes so far, and this one. */
  readonly attempt: number;
  readonly transfer: NewTask['transfer'];
  readonly schedule: NewTask['schedule'];
  /** Of which it is a member; only then may its settlement add tasks to a flow. */
  readonly flow: FlowId | undefined;
  /** Whoever runs it keeps its own item here, to find it again from the claim. */
  holder: unknown;
  /** Writes the 16 bytes of the id without making its text. */
  writeId(target: Uint8Array, at: number): void;
}

export interface Hold {
  release(): void;
}
