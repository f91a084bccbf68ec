/**
 * The order of lines at one level. Queues without lanes of limited tasks there go first come, first served,
 * by the numbers of their segments; they cost no more for the lanes of others. Each queue that has such lanes
 * has them take turns, its plain line among them, and all the queues of the first kind together take turns
 * with those as one more lane of weight 1.
 *
 * One time per level for all queues: so the turns of a lane do not depend on what queue it is in. A heap per
 * queue: so that a paused queue is passed over with one look.
 */
import type { LevelQueue } from './line.js';
import type { Look } from './look.js';
import { isBefore, LaneTurn, LevelTime, QueueTurns } from './turns.js';

export class LevelOrder {
  readonly #level: number;
  /** First come, first served; what has nothing to claim is dropped when it is met. */
  readonly #plain: LevelQueue[] = [];
  readonly #plainTurn = new LaneTurn(undefined);
  readonly #inTurns: QueueTurns[] = [];
  readonly #time = new LevelTime();

  constructor(level: number) {
    this.#level = level;
  }

  /** Whether lanes take turns here; without them, whoever is claimed from stays the best while it lasts. */
  get hasTurns(): boolean {
    return this.#inTurns.length > 0;
  }

  /** Nothing is listed here. What is may have nothing to claim. */
  get isEmpty(): boolean {
    return this.#plain.length === 0 && this.#inTurns.length === 0;
  }

  /** Lists a level queue. */
  add(queue: LevelQueue): void {
    const { line } = queue;
    if (line.kind === 'limit') this.#addLimited(queue);
    else {
      const turns = line.siblings.turns[this.#level];
      if (turns !== undefined && line.kind === 'plain') this.#enter(turns, queue);
      else this.#addPlain(queue);
    }
  }

  /** Takes a level queue out that is listed. */
  remove(queue: LevelQueue): void {
    const turns = turnsOf(queue);
    if (turns !== undefined) this.#leave(turns, queue.turn!);
    else {
      this.#plain.splice(this.#plain.indexOf(queue), 1);
      queue.isListed = false;
    }
  }

  /** Its line is forgotten; what it had more than its share is remembered until its turn would have come. */
  forget(queue: LevelQueue): void {
    const turns = turnsOf(queue);
    if (turns === undefined || queue.line.kind !== 'limit') this.remove(queue);
    else {
      const turn = queue.turn!;
      turn.queue = undefined;
      turn.laneName = queue.line.laneName;
      turns.forgotten.set(turn.laneName, turn);
    }
  }

  /** Takes a level queue out of its turns until the claim has ended. */
  passOver(queue: LevelQueue, look: Look): void {
    const turns = turnsOf(queue);
    if (turns === undefined) return;
    turns.heap.remove(queue.turn!);
    look.passedOver.push(queue);
  }

  /** After {@link passOver}. */
  restore(queue: LevelQueue): void {
    if (!queue.isListed) return;
    const turns = turnsOf(queue);
    if (turns === undefined) this.#addPlain(queue);
    else {
      this.#time.comeBack(queue.turn!);
      turns.heap.add(queue.turn!);
    }
  }

  /** @param weight  Of its lane. Called only where lanes take turns. */
  took(queue: LevelQueue, weight: number): void {
    const turns = turnsOf(queue);
    const turn = turns === undefined ? this.#plainTurn : queue.turn!;
    let lanes = 0;
    for (const { heap, forgotten } of this.#inTurns) lanes += heap.size - forgotten.size;
    const isSetBackDue = this.#time.took(turn, weight, lanes);
    turns?.heap.moved(turn);
    if (isSetBackDue) this.#time.setBack(this.#all());
  }

  /** The level queue whose head is next. */
  best(look: Look): LevelQueue | undefined {
    if (this.#inTurns.length === 0) return this.#bestPlain(look);
    for (let mayBePlain = true; !look.isSpent; ) {
      const turns = this.#next(look);
      const top = turns?.heap.top;
      if (mayBePlain && (top === undefined || isBefore(this.#plainTurn, top))) {
        const queue = this.#bestPlain(look);
        if (queue !== undefined) return queue;
        mayBePlain = false;
        continue;
      }
      if (turns === undefined || top === undefined) break;
      this.#time.reached(top);
      const { queue } = top;
      if (queue !== undefined && this.#isReady(queue, look)) return queue;
      if (queue === undefined) this.#drop(turns, top, look);
      // Its queue may have no lanes left that take turns.
      if (turns.limited === 0) mayBePlain = true;
    }
    return undefined;
  }

  /** The queue whose first turn is next. */
  #next(look: Look): QueueTurns | undefined {
    let next: QueueTurns | undefined;
    for (const turns of this.#inTurns) {
      const { top } = turns.heap;
      if (top === undefined || turns.siblings.skippedIn === look.serial) continue;
      if (next === undefined || isBefore(top, next.heap.top!)) next = turns;
    }
    return next;
  }

  /** Whether its head can be claimed now; takes it out otherwise. */
  #isReady(queue: LevelQueue, look: Look): boolean {
    if (look.isSkipped(queue)) {
      this.passOver(queue, look);
      return false;
    }
    let front = queue.front(look.withSuspects);
    if (front === undefined && queue.segments.length === 0 && queue.spilledFrom !== undefined) {
      if (!look.read(queue)) return false;
      front = queue.front(look.withSuspects);
    }
    if (front !== undefined) return true;
    // Others come back with their next task or flush.
    if (!look.withSuspects && queue.front() !== undefined) this.passOver(queue, look);
    else this.#drop(turnsOf(queue)!, queue.turn!, look);
    return false;
  }

  /** Oldest segment first. */
  #bestPlain(look: Look): LevelQueue | undefined {
    const queues = this.#plain;
    let best: LevelQueue | undefined;
    let bestNumber = 0;
    for (let at = 0; at < queues.length; at++) {
      const queue = queues[at]!;
      if (look.isSkipped(queue)) continue;
      let front = queue.front(look.withSuspects);
      if (front === undefined && queue.segments.length === 0 && queue.spilledFrom !== undefined) {
        if (!look.read(queue)) {
          at--;
          continue;
        }
        front = queue.front(look.withSuspects);
      }
      if (front === undefined) {
        if (queue.isEmpty) {
          queues.splice(at--, 1);
          queue.isListed = false;
        }
        continue;
      }
      if (best === undefined || front.number < bestNumber) {
        best = queue;
        bestNumber = front.number;
      }
    }
    return best;
  }

  #addPlain(queue: LevelQueue): void {
    if (this.#plain.length === 0) this.#time.enter(this.#plainTurn);
    this.#plain.push(queue);
    queue.isListed = true;
  }

  #addLimited(queue: LevelQueue): void {
    const { siblings, laneName } = queue.line;
    let turns = siblings.turns[this.#level];
    if (turns === undefined) {
      siblings.turns[this.#level] = turns = new QueueTurns(siblings);
      this.#inTurns.push(turns);
      this.#movePlain(turns);
    }
    const turn = turns.forgotten.get(laneName);
    if (turn === undefined) {
      turns.limited++;
      this.#enter(turns, queue);
      return;
    }
    turns.forgotten.delete(laneName);
    turn.laneName = undefined;
    turn.queue = queue;
    queue.turn = turn;
    queue.isListed = true;
  }

  /** The plain line of a queue joins the lanes of its queue. */
  #movePlain(turns: QueueTurns): void {
    const at = this.#plain.findIndex(({ line }) => line.siblings === turns.siblings && line.kind === 'plain');
    if (at >= 0) this.#enter(turns, this.#plain.splice(at, 1)[0]!);
  }

  #enter(turns: QueueTurns, queue: LevelQueue): void {
    queue.turn ??= new LaneTurn(queue);
    this.#time.enter(queue.turn);
    turns.heap.add(queue.turn);
    queue.isListed = true;
  }

  /** It has nothing to claim. */
  #drop(turns: QueueTurns, turn: LaneTurn, look: Look): void {
    look.spend();
    this.#leave(turns, turn);
  }

  #leave(turns: QueueTurns, turn: LaneTurn): void {
    const { queue, laneName } = turn;
    if (turn.at >= 0) turns.heap.remove(turn);
    if (queue !== undefined) queue.isListed = false;
    if (laneName !== undefined) turns.forgotten.delete(laneName);
    if (queue?.line.kind === 'plain' || --turns.limited > 0) return;
    this.#inTurns.splice(this.#inTurns.indexOf(turns), 1);
    turns.siblings.turns[this.#level] = undefined;
    const plain = turns.heap.top;
    if (plain === undefined) return;
    turns.heap.remove(plain);
    this.#addPlain(plain.queue!);
  }

  *#all(): Iterable<LaneTurn> {
    yield this.#plainTurn;
    for (const { heap } of this.#inTurns) yield* heap;
  }
}

/** The turns that it takes part in. Lines aside, which nobody handles, take none. */
function turnsOf({ line, level }: LevelQueue): QueueTurns | undefined {
  return line.kind === 'aside' ? undefined : line.siblings.turns[level];
}
