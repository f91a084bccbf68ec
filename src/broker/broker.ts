/**
 * The port that moves tasks: batches in, claims out, settlements back. Whoever implements it persists
 * transitions; what a transition is gets decided elsewhere (`task/transition.ts`), so every backend behaves
 * alike.
 *
 * The three ports `Broker`, `KeyValue` and `Inspect` together are a `Backend`. What an adapter cannot do it
 * says in `lacks`, one sentence each: the same sentence skips the conformance test, fills the README's table
 * and words the user's error. Which lacks are allowed at all is a table in `testing/conformance.ts`.
 */
import type { EpochMs } from '../clock.js';
import type { Ownership } from '../owner/ownership.js';
import type { FinalState, Level, LogLine, NewTask, TaskId } from '../task/task.js';
import type { TaskOptions } from '../task/task-options.js';
import type { Blobs } from './blobs.js';
import type { Claim, Head, Hold, OrderRules, Verdict } from './claims.js';
import type { Flows } from './flows.js';
import type { Inspect } from './inspect.js';
import type { FactChange, KeyValue } from './key-value.js';
import type { Otherwise, Settlement } from './settlement.js';
import type { Settled, Stage, Ticket } from './tickets.js';

export type { Ageing, Aside, Claim, Head, Hold, OrderRules, Verdict } from './claims.js';
export type { Settlement } from './settlement.js';
export type { Settled, SettledListener, Stage, Ticket, Tickets } from './tickets.js';

/** Tasks of one `enqueue`: a larger batch is staged. */
export const MAX_BATCH_TASKS = 20_000;
/** Tasks of one {@link Stage}. */
export const MAX_STAGED_TASKS = 10_000_000;
/** Why a stage takes no unique keys. */
export const NO_UNIQUE_IN_STAGE = `they are compared in one commit: enqueue at most ${MAX_BATCH_TASKS}`;

/** What an adapter may lack; each value is a sentence that says why. */
export type Lack =
  /** No list, get of waiting tasks, or exact counts. */
  | 'inspect'
  /** A batch is stored task by task, not all or nothing. */
  | 'atomicBatch'
  /** A stale owner's settlement cannot be refused by the engine. */
  | 'fencing'
  /** Unique keys. */
  | 'unique'
  /** Tasks that wait for other tasks. */
  | 'flows'
  /** A claim cannot look before it takes; unwanted tasks are given back. */
  | 'peek'
  /** Payloads moved in by `transfer` are copied. */
  | 'transfer'
  /** An accepted task does not survive the end of the process. */
  | 'durable';
export type Lacks = Readonly<Partial<Record<Lack, string>>>;

/** A backend is the three ports together; `inspect` and `flows` are absent where `lacks` says why. */
export interface Backend {
  readonly broker: Broker;
  readonly keyValue: KeyValue;
  readonly inspect?: Inspect;
  readonly flows?: Flows;
  /** Where large payloads and results are kept; absent where they are kept with their tasks. */
  readonly blobs?: Blobs;
  /** Where other processes reach the owner of this backend; absent where they ask the engine itself. */
  readonly door?: Pick<Ownership, 'onConnection'>;
  /** Flushes what is pending and lets go of files, sockets and locks. Bounded in time; idempotent. */
  close(): Promise<void>;
}

export interface Broker {
  /** For messages and metrics: `memory`, `lmdb`, … */
  readonly kind: string;
  readonly lacks: Lacks;

  /**
   * Takes tasks in, all or none of them unless `lacks.atomicBatch`. They may be claimed before `accepted`
   * resolves (eager start) unless a task says `startAfterCommit`.
   * @throws {QueueFullError} at once, with nothing stored, when too many await their flush.
   * @throws {StoreFencedError} after a write error.
   * @param fact  Written in the same transaction: with the tasks or not at all.
   * @throws {DuplicateTaskError} when a unique key is taken and its policy is `'reject'`; nothing is stored.
   * @throws {FactChangedError} when the fact has another version than expected; nothing is stored.
   */
  enqueue(batch: readonly NewTask[], fact?: FactChange): Enqueued;

  /**
   * Takes in one batch that is too large for one commit, part by part, and all or none of it.
   * @throws {QueueFullError} when too many batches are being staged at once.
   * @throws {StoreFencedError} after a write error.
   */
  stage(): Stage;

  /**
   * Claims the tasks that `accept` takes, best first: level 9 before 0, then lanes in turn, then enqueue
   * order. `accept` sees each head before it is claimed. Bounded by `max`, and by how many lines are looked
   * at in vain: see `endedEarly`.
   *
   * Lanes of tasks with limits take turns at each level: one that was empty comes in near the place where the
   * others are, and then each is claimed from as often as its weight says. So between the enqueue of a lone
   * task and its claim, at most `weight` claims go to each other lane of its level; and new lanes, however
   * many, keep none waiting for ever. Queues that have no such lane there are one lane of weight 1 together,
   * in plain enqueue order.
   */
  claim(accept: (head: Head) => Verdict, max: number): readonly Claim[] | Promise<readonly Claim[]>;
  /** The last claim has looked at many lines in vain. There may be more to claim; `wake` is called for it. */
  readonly endedEarly: boolean;

  /**
   * Notes durably that these claims are about to be handed to a thread, so that after a crash they are known
   * as suspects. Call before the hand-over; let go of the hold when the batch has ended.
   */
  hold(claims: readonly Claim[]): Hold;

  /**
   * Ends claims. All effects of one settlement are one transaction (or happen in the stated order: result if
   * absent, next tasks under fixed ids, then acknowledge). A claim that was settled before is refused and
   * counted (`lost`).
   * @param otherwise  Told at once of each whose claim ends otherwise: see `Effects.next`; members of a flow
   *   that is being cancelled.
   * @returns  When all of it is flushed. Rejects with {@link StoreFencedError} when it could not be.
   */
  settle(settlements: readonly Settlement[], otherwise?: Otherwise): Promise<void>;
  /** How many settlements were refused because their claim had ended before. */
  readonly lostSettlements: number;

  /** Keeps what a running handler reported, at most once a second per task; lost with a crash in between. */
  note(claim: Claim, note: { readonly progress?: unknown; readonly logs?: readonly LogLine[] }): void;

  /** Makes scheduled tasks ready that are due at `now`; at most `limit`. @returns how many. */
  promote(now: EpochMs, limit: number): number | Promise<number>;
  /** When the next scheduled task is due; `undefined` when none is. */
  nextDueAt(): EpochMs | undefined | Promise<EpochMs | undefined>;

  /** Deletes settled tasks whose retention has passed; at most `limit` rows. @returns how many rows. */
  prune(now: EpochMs, limit: number): number | Promise<number>;

  /**
   * Cancels a task that is not running and keeps it listed for `keepMs`, or with its flow; a running one is
   * returned, for the caller to abort.
   * @throws {UnknownTaskError} {@link ResultExpiredError}
   */
  cancel(id: TaskId, reason: string, now: EpochMs, keepMs: number): Promise<CancelAnswer>;
  /**
   * Sends a dead or cancelled task round again, its counts reset; it takes its unique key again. A member of
   * a flow whose parents have not all ended is blocked again.
   * @throws {WrongStateError} {@link UnknownTaskError} {@link ResultExpiredError}; the first also for a
   *   member whose parent is dead, when it must fail with it.
   * @throws {DuplicateTaskError} when another task holds its unique key by now.
   */
  redrive(id: TaskId): Promise<void>;
  /**
   * Removes a final task. Members are removed with their flow only.
   * @throws {WrongStateError} {@link UnknownTaskError} {@link ResultExpiredError}
   */
  delete(id: TaskId): Promise<void>;

  /**
   * Cancels ready tasks of the lowest levels, reason `shed`, so that more important ones find room: lowest
   * level first, in it the newest first. Flushed with what is enqueued in the same turn. Members of a flow
   * are passed over. Bounded in work: it may find fewer than there are.
   * @returns  What was cancelled.
   */
  shed(request: ShedRequest): readonly ShedTask[];

  /**
   * Resolves when the task is final and that is flushed; at once when it already is. Cannot be missed.
   * @throws {UnknownTaskError} when no such task was accepted; {@link ResultExpiredError} when it was pruned.
   */
  settled(id: TaskId): Promise<Settled>;

  /**
   * Lets a line that was held be claimed from again, and calls `wake` when it has tasks. A line without tasks
   * is not held any more: it is asked for again when one comes.
   */
  resumeLine(queue: string, lane: string): void;
  /** The same for all lines that are held. */
  resumeAll(): void;
  /** How lines take turns, asked while claiming; before the first call all weigh 1 and all are open. */
  order(rules: OrderRules): void;

  /** About how many tasks could be claimed now; a hint for batch sizes, cheap to ask. */
  backlog(): number;
  /**
   * How many tasks are scheduled, ready or blocked, those in hand included; of one queue, or of all. Cheap to
   * ask.
   */
  waiting(queue?: string): number;
  /** Whether the store would take tasks of so many bytes now. */
  hasRoom(bytes: number): boolean;
  /** Whether a task of this name holds this unique key. */
  isTaken(name: string, key: string): boolean;
  /** Calls `wake` whenever tasks may have become claimable; for the dispatcher. */
  onReady(wake: () => void): void;
  /** Called once when the store stops accepting after a write error or a takeover. */
  onFenced(tell: (error: Error) => void): void;
  /** Told by the executor which claims have not started yet, so that counts call them ready. */
  isUnstarted: (claim: Claim) => boolean;
  /** Lets the broker time its commits by what the threads are doing; see {@link Pace}. */
  pace(pace: () => Pace): void;
}

/**
 * What the threads are doing: `idle` one waits for work, `fresh` work just started on idle ones, `busy` all.
 */
export type Pace = 'idle' | 'fresh' | 'busy';

/** The answer to an enqueue; `tickets[i]` is for `batch[i]`. */
export interface Enqueued {
  readonly tickets: readonly Ticket[];
  /** Flushed. Rejects with {@link StoreFencedError} when it could not be stored. */
  readonly accepted: Promise<void>;
}

export interface ShedRequest {
  /** Tasks of this queue; by default of all. */
  readonly queue?: string;
  /** Tasks of lower levels than this. */
  readonly below: Level;
  readonly most: number;
  /** None where fewer than these are found. */
  readonly least: number;
  readonly now: EpochMs;
  /** How long such a task stays listed. */
  keepMs(task: ShedTask): number;
}

export interface ShedTask {
  readonly id: TaskId;
  readonly name: string;
  readonly queue: string;
  readonly options: TaskOptions | undefined;
}

export type CancelAnswer =
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'running'; readonly claim: Claim }
  | { readonly kind: 'final'; readonly state: FinalState };
