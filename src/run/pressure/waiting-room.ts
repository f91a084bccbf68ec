/**
 * Who waits for room: bounded in number and bytes, the highest level first, in it the first come. Those of
 * different queues do not wait for each other; a batch of several queues has a line of its own, and holds up
 * those queues when its turn has come. Each waits until it is let in, its signal aborts, or the room is
 * closed. When there is room for whom is not known here.
 */
import { QueueFullError } from '../../errors.js';
import { type Demand, demandOf, type Entrant } from './entrant.js';

/** A place in the room. */
export interface Seat {
  readonly entrant: Entrant;
  readonly demand: Demand;
  readonly bytes: number;
  /** Its queue; `''` for a batch of several. */
  readonly line: string;
  readonly serial: number;
  readonly abort: () => void;
  hasLeft: boolean;
}

/** `yes` · `pass` over it and all that want into its queues · `stop`: nobody else either. */
export type MayEnter = 'yes' | 'pass' | 'stop';

export class WaitingRoom {
  readonly #maxCount: number;
  readonly #maxBytes: number;
  /** Of each line its ten levels. */
  readonly #lines = new Map<string, Level[]>();
  /** On their way out, and those of them that found no room after all. */
  readonly #leaving = new Map<Entrant, Seat>();
  #refused: Seat[] = [];
  #bytes = 0;
  #serial = 0;
  #count = 0;

  constructor(maxCount: number, maxBytes: number) {
    this.#maxCount = maxCount;
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  /** @throws {QueueFullError} when too many wait already. */
  enter(entrant: Entrant): void {
    const { task, tasks = [task] } = entrant;
    const bytes = tasks.reduce((sum, { body }) => sum + body.length, 0);
    if (this.#count >= this.#maxCount) {
      throw new QueueFullError('Enqueues that wait for room', this.#count + 1, this.#maxCount);
    }
    if (this.#bytes > 0 && this.#bytes + bytes > this.#maxBytes) {
      throw new QueueFullError('Bytes that wait for room', this.#bytes + bytes, this.#maxBytes);
    }
    const demand = demandOf(tasks);
    const line = demand.size === 1 ? task.queue : '';
    const abort = (): void => {
      this.#leave(seat);
      entrant.failed(task.signal!.reason);
    };
    const seat: Seat = { entrant, demand, bytes, line, serial: this.#serial++, abort, hasLeft: false };
    this.#levelOf(seat).add(seat);
    this.#entered(seat);
  }

  /** Whether somebody waits whom a newcomer of this queue and level may not overtake. */
  isBefore(queue: string, level: number): boolean {
    const isHigher = ({ size }: Level, at: number): boolean => size > 0 && at >= level;
    return [queue, ''].some((line) => this.#lines.get(line)?.some(isHigher));
  }

  /**
   * Lets in up to `most` of those who may enter, in order.
   * @param place  Puts in single ones together, or one batch. For those that find no room it calls `refused`,
   *   and nobody follows them.
   * @returns how many went in; fewer than `most` when nobody else may enter now.
   */
  letIn(
    most: number,
    mayEnter: (seat: Seat) => MayEnter,
    place: (entrants: readonly Entrant[]) => void,
  ): number {
    const passed = new Set<string>();
    let together: Seat[] = [];
    let tried = 0;
    const placeThem = (): void => {
      if (this.#refused.length > 0) this.#refused.push(...together);
      else if (together.length > 0) this.#place(together, place);
      together = [];
    };
    while (tried < most && this.#refused.length === 0) {
      const seat = this.#next(passed);
      const may = seat === undefined ? 'stop' : mayEnter(seat);
      if (seat === undefined || may === 'stop') break;
      if (may === 'pass') {
        passed.add(seat.line);
        for (const queue of seat.demand.keys()) passed.add(queue);
        continue;
      }
      tried++;
      this.#leave(seat);
      const isBatch = seat.entrant.tasks !== undefined;
      if (isBatch) placeThem();
      together.push(seat);
      if (isBatch) placeThem();
    }
    placeThem();
    const refused = this.#refused;
    this.#refused = [];
    this.#putBack(refused);
    return tried - refused.length;
  }

  /** Found no room after all. @returns whether it came from here: then it waits again, where it stood. */
  refused(entrant: Entrant): boolean {
    const seat = this.#leaving.get(entrant);
    if (seat !== undefined) this.#refused.push(seat);
    return seat !== undefined;
  }

  /** Tells everybody why they wait no longer. */
  close(error: Error): void {
    const seats = [...this.#lines.values()].flatMap((levels) => levels.flatMap((level) => level.all));
    for (const seat of seats) {
      this.#leave(seat);
      seat.entrant.failed(error);
    }
  }

  /** Who is next, but for the lines that were passed over. */
  #next(passed: ReadonlySet<string>): Seat | undefined {
    for (let level = 9; level >= 0; level--) {
      let first: Seat | undefined;
      for (const [line, levels] of this.#lines) {
        const head = passed.has(line) ? undefined : levels[level]!.first;
        if (head !== undefined && (first === undefined || head.serial < first.serial)) first = head;
      }
      if (first !== undefined) return first;
    }
    return undefined;
  }

  #place(seats: readonly Seat[], place: (entrants: readonly Entrant[]) => void): void {
    for (const seat of seats) this.#leaving.set(seat.entrant, seat);
    place(seats.map(({ entrant }) => entrant));
    this.#leaving.clear();
  }

  #putBack(seats: readonly Seat[]): void {
    const byLevel = new Map<Level, Seat[]>();
    for (const seat of seats) {
      const level = this.#levelOf(seat);
      const back = byLevel.get(level);
      if (back === undefined) byLevel.set(level, [seat]);
      else back.push(seat);
      this.#entered(seat);
    }
    for (const [level, back] of byLevel) level.putBack(back.sort((a, b) => a.serial - b.serial));
  }

  #entered({ bytes, entrant, abort }: Seat): void {
    this.#count++;
    this.#bytes += bytes;
    entrant.task.signal?.addEventListener('abort', abort, { once: true });
  }

  #leave(seat: Seat): void {
    this.#levelOf(seat).remove(seat);
    this.#count--;
    this.#bytes -= seat.bytes;
    seat.entrant.task.signal?.removeEventListener('abort', seat.abort);
    if (this.#lines.get(seat.line)!.every(({ size }) => size === 0)) this.#lines.delete(seat.line);
  }

  #levelOf({ line, entrant }: Seat): Level {
    let levels = this.#lines.get(line);
    if (levels === undefined) {
      levels = Array.from({ length: 10 }, () => new Level());
      this.#lines.set(line, levels);
    }
    return levels[entrant.task.level]!;
  }
}

/** First come, first served. Who has left is passed over, and forgotten when most have. */
class Level {
  #seats: Seat[] = [];
  #from = 0;
  size = 0;

  get first(): Seat | undefined {
    while (this.#seats[this.#from]?.hasLeft === true) this.#from++;
    return this.#seats[this.#from];
  }

  get all(): readonly Seat[] {
    return this.#seats.filter(({ hasLeft }) => !hasLeft);
  }

  add(seat: Seat): void {
    this.#seats.push(seat);
    this.size++;
  }

  remove(seat: Seat): void {
    seat.hasLeft = true;
    this.size--;
    if (this.#seats.length > 2 * this.size) this.#forget();
  }

  /** They stand before all others. */
  putBack(seats: readonly Seat[]): void {
    this.#forget();
    for (const seat of seats) seat.hasLeft = false;
    this.#seats = [...seats, ...this.#seats];
    this.size += seats.length;
  }

  #forget(): void {
    this.#seats = this.all.slice();
    this.#from = 0;
  }
}
