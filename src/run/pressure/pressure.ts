/**
 * Back-pressure: what becomes of an enqueue that finds no room, because too many tasks wait already or
 * because the broker takes no more. It waits, is refused, or less important tasks make way for it. What
 * handlers enqueue with their result does not come by here: it is never refused, and counts.
 *
 *     enqueue ──▶ there is room ──▶ broker ──▶ in
 *        │                            └──▶ the broker has none: reject · wait
 *        └──▶ there is none: reject · shed, then in · wait ──▶ in, as tasks end
 */
import type { Broker } from '../../broker/broker.js';
import type { Disarm } from '../../clock.js';
import { QueueFullError, StoreFullError } from '../../errors.js';
import type { RuntimeOptions } from '../../options/types.js';
import type { NewTask } from '../../task/task.js';
import type { RuntimeEvent } from '../events.js';
import { BatchEntrant, demandOf, type Entrant, isKnown } from './entrant.js';
import { HighWater } from './high-water.js';
import { type MakingWay, makeWay } from './make-way.js';
import { StorePressure } from './store-pressure.js';
import { type MayEnter, type Seat, WaitingRoom } from './waiting-room.js';

/** Let in between two turns of the event loop. */
const SLICE = 1_000;
/** Tasks that make way for single ones in one turn, and for one batch at most. */
const SHED_SLICE = 128;
const MAX_SHED = 1_000;
/** How soon it is looked again while somebody waits, and while nobody does and a mark is reached. */
const LOOK_MS = 10;
const LOOK_AT_MARKS_MS = 250;

type Options = Pick<
  RuntimeOptions,
  | 'maxWaiting'
  | 'queues'
  | 'whenFull'
  | 'maxPendingEnqueues'
  | 'maxPendingBytes'
  | 'maxBytes'
  | 'minFreeBytes'
>;

export interface PressureHost extends MakingWay {
  readonly broker: Pick<Broker, 'waiting' | 'shed' | 'hasRoom' | 'isTaken'>;
  /** Tasks of a queue, or of all, whose handlers run. */
  started(queue?: string): number;
  /** Puts in single tasks. {@link Pressure.refused} is told of those that the broker does not take. */
  place(entrants: readonly Entrant[]): void;
  tell(event: RuntimeEvent): void;
}

export class Pressure {
  readonly #options: Options;
  readonly #host: PressureHost;
  readonly #highWater: HighWater;
  readonly #room: WaitingRoom;
  /** Whether some may be kept out: where not, nothing is asked. */
  isOn: boolean;
  readonly #store: StorePressure;
  #ended: Error | undefined;
  #disarm: Disarm | undefined;
  #armedMs = 0;
  #isLettingIn = false;

  constructor(options: Options, host: PressureHost) {
    this.#options = options;
    this.#host = host;
    this.#room = new WaitingRoom(options.maxPendingEnqueues, options.maxPendingBytes);
    this.#highWater = new HighWater(options, {
      waiting: (queue) => host.broker.waiting(queue),
      started: (queue) => host.started(queue),
      tell: (kind, { queue, limit }, waiting) => {
        host.tell({ kind, mark: 'maxWaiting', queue, waiting, limit, at: host.clock.now() });
        if (kind === 'pressure') this.#lookLater();
      },
    });
    this.#store = new StorePressure(options, host);
    this.isOn = this.#highWater.isSet;
  }

  /** Those that are to be placed now. The others wait, or have been told that they are refused. */
  admit<Each extends Entrant>(entrants: readonly Each[]): readonly Each[] {
    const admitted: Each[] = [];
    const pressing = new Map<string, { readonly full: QueueFullError; readonly entrants: Each[] }>();
    this.#highWater.look();
    for (const entrant of entrants) {
      const { queue, level, whenFull = this.#options.whenFull } = entrant.task;
      const full = this.#highWater.lack(queue, 1) ?? this.#behind(queue, level);
      if (full === undefined) {
        this.#highWater.come(queue, 1);
        admitted.push(entrant);
      } else if (isKnown(entrant.task, this.#host.broker)) admitted.push(entrant);
      else if (whenFull === 'shed') {
        const key = `${level} ${full.queue ?? ''}`;
        const group = pressing.get(key);
        if (group === undefined) pressing.set(key, { full, entrants: [entrant] });
        else group.entrants.push(entrant);
      } else this.#keepOut(entrant, full);
    }
    for (const { full, entrants: group } of pressing.values()) {
      const first = group.slice(0, SHED_SLICE);
      const count = makeWay(this.#host, full.queue, first[0]!.task.level, first.length, 1);
      admitted.push(...first.slice(0, count));
      for (const entrant of first.slice(count)) entrant.failed(full);
      if (group.length > SHED_SLICE) setImmediate(() => this.#admitLater(group.slice(SHED_SLICE)));
    }
    return admitted;
  }

  /**
   * Puts a batch in, at once where there is room.
   * @param place  Puts it in. @throws as `Broker.enqueue`
   * @throws (rejects) {QueueFullError} {@link StoreFullError}, the reason of its signal, what `place` throws
   */
  batch<Result>(tasks: readonly NewTask[], place: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      const put = (): void => resolve(place());
      if (this.isOn) this.#admitBatch(this.#batchOf(tasks, put, reject));
      else {
        try {
          put();
        } catch (error) {
          this.refused(this.#batchOf(tasks, put, reject), error);
        }
      }
    });
  }

  /**
   * Room for tasks that are placed together, and a little later.
   * @returns what to call once they are, or will not be.
   * @throws (rejects) as {@link Pressure.batch}
   */
  hold(tasks: readonly NewTask[]): Promise<() => void> {
    return this.batch(tasks, () => this.#highWater.hold(demandOf(tasks)));
  }

  /**
   * Resolves when another try is worth while, for tasks that wait; rejects with the error for any others.
   */
  again(tasks: readonly NewTask[], error: unknown): Promise<void> {
    return new Promise((resolve, reject) => {
      this.refused(this.#batchOf(tasks, resolve, reject), error);
    });
  }

  /**
   * Whether it is worth while to write the payload of this task. Resolves when there is room, or at once for
   * a task that others make way for; they do when it comes in.
   * @throws (rejects) as {@link Pressure.batch}
   */
  async before(task: NewTask): Promise<void> {
    const { whenFull = this.#options.whenFull } = task;
    if (whenFull !== 'shed' && !isKnown(task, this.#host.broker)) await this.batch([task], () => {});
  }

  /** Of a batch or flow that is staged, which neither waits nor sheds. @throws {QueueFullError} */
  checkStaged(tasks: readonly NewTask[]): void {
    if (!this.#highWater.isSet) return;
    this.#highWater.look();
    const full = this.#highWater.lackOf(demandOf(tasks));
    if (full !== undefined) throw full;
  }

  /** The broker has not taken it. */
  refused(entrant: Entrant, error: unknown): void {
    if (error instanceof StoreFullError) {
      this.#store.refused(error);
      this.#lookLater();
    }
    const isFull = error instanceof StoreFullError || error instanceof QueueFullError;
    if (!isFull) entrant.failed(error);
    else if (!this.#room.refused(entrant)) this.#keepOut(entrant, error);
  }

  /** Tasks have ended: who waits may come in. */
  look(): void {
    if (this.#room.count > 0) this.#letIn();
    this.isOn = this.#highWater.isSet || this.#room.count > 0;
    this.#highWater.relieve();
  }

  /** Nothing comes in any more: who waits is told why. */
  end(error: Error): void {
    this.#ended ??= error;
    this.#disarm?.();
    this.#room.close(this.#ended);
  }

  #batchOf(tasks: readonly NewTask[], place: () => void, failed: (error: unknown) => void): BatchEntrant {
    return new BatchEntrant(tasks, this.#options.whenFull, place, failed);
  }

  #admitLater(entrants: readonly Entrant[]): void {
    if (this.#ended === undefined) this.#host.place(this.admit(entrants));
    else for (const entrant of entrants) entrant.failed(this.#ended);
  }

  #admitBatch(batch: BatchEntrant): void {
    const full = this.#lackOf(batch);
    if (full === undefined) this.#place([batch]);
    else if (this.#highWater.isBeyond(demandOf(batch.tasks))) batch.failed(full);
    else this.#keepOut(batch, full);
  }

  /** Lets it wait when it wants to, else tells it. */
  #keepOut(entrant: Entrant, full: QueueFullError | StoreFullError): void {
    const { whenFull = this.#options.whenFull, signal } = entrant.task;
    try {
      if (whenFull !== 'wait') throw full;
      if (this.#ended !== undefined) throw this.#ended;
      signal?.throwIfAborted();
      this.#room.enter(entrant);
    } catch (why) {
      entrant.failed(why);
      return;
    }
    this.isOn = true;
    this.#lookLater();
  }

  #letIn(): void {
    if (this.#isLettingIn || this.#ended !== undefined) return;
    this.#isLettingIn = true;
    this.#highWater.look();
    const count = this.#room.letIn(
      SLICE,
      (seat) => this.#mayEnter(seat),
      (entrants) => this.#place(entrants),
    );
    this.#isLettingIn = false;
    if (count === SLICE) setImmediate(() => this.#letIn());
  }

  #mayEnter({ demand, bytes }: Seat): MayEnter {
    if (!this.#store.mayHaveRoom(bytes)) return 'stop';
    const full = this.#highWater.lackOf(demand);
    // What all lack nobody gets; what one queue lacks holds up those who want into that queue.
    if (full !== undefined) return full.queue === undefined ? 'stop' : 'pass';
    for (const [queue, count] of demand) this.#highWater.come(queue, count);
    return 'yes';
  }

  #place(entrants: readonly Entrant[]): void {
    const [batch] = entrants;
    if (!(batch instanceof BatchEntrant)) {
      this.#host.place(entrants);
      return;
    }
    try {
      batch.place();
    } catch (error) {
      this.refused(batch, error);
    }
  }

  /** Why there is no room for a batch, after the shedding that it asks for. */
  #lackOf({ tasks, task, lowest }: BatchEntrant): QueueFullError | undefined {
    const demand = demandOf(tasks);
    const [behind] = [...demand.keys()].flatMap((queue) => this.#behind(queue, task.level) ?? []);
    for (;;) {
      this.#highWater.look();
      const full = this.#highWater.lackOf(demand);
      if (full === undefined) break;
      const over = full.pending - full.limit;
      const isHopeless = behind !== undefined || over > MAX_SHED || this.#highWater.isBeyond(demand);
      // Nobody makes way in vain.
      if (task.whenFull !== 'shed' || isHopeless) return full;
      if (makeWay(this.#host, full.queue, lowest, over, over) === 0) return full;
    }
    if (behind !== undefined) return behind;
    for (const [queue, count] of demand) this.#highWater.come(queue, count);
    return undefined;
  }

  /** Somebody of this level or above waits for the same room. */
  #behind(queue: string, level: number): QueueFullError | undefined {
    const { count } = this.#room;
    const { maxPendingEnqueues: most } = this.#options;
    if (count === 0 || !this.#room.isBefore(queue, level)) return undefined;
    return new QueueFullError('Enqueues that wait for room', count + 1, most, queue);
  }

  /** Time may bring room as well: handlers start, others empty the disk. */
  #lookLater(): void {
    const isPressed = this.#room.count > 0 || this.#store.isFull || this.#highWater.isReached;
    if (this.#ended !== undefined || !isPressed) return;
    const ms = this.#room.count > 0 ? LOOK_MS : LOOK_AT_MARKS_MS;
    if (this.#disarm !== undefined && this.#armedMs <= ms) return;
    this.#disarm?.();
    this.#armedMs = ms;
    this.#disarm = this.#host.clock.arm(ms, () => {
      this.#disarm = undefined;
      this.#store.look();
      this.look();
      this.#lookLater();
    });
  }
}
