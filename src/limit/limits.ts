/**
 * The role that the dispatcher asks: may this head start, and if not, who says when it may. A start takes its
 * permits of all scopes at once or of none: those of its key, its name, its queue and the runtime.
 *
 *     key, name     the lane waits at one gate, the first that lacks; it is held out of all claims meanwhile
 *     queue         its lines are skipped in this claim
 *     runtime       claiming stops: nothing else could start
 *
 * Nobody is forgotten: a gate that may have changed is looked at before the next claims, and resumes as many
 * lanes, in turn, as it has permits. A resumed lane keeps its place until it takes its permit or waits at
 * another gate; and when claims have found nothing more to take, it is known to have nothing, and its place
 * goes to the next. Knows tasks by their heads only; never reads a payload and never claims.
 */
import type { Claim, Head } from '../broker/broker.js';
import { limitLane } from '../task/lane.js';
import { Alarms } from './alarms.js';
import type { Scope, Taken } from './scope.js';
import { type Lane, Scopes, type ScopesHost } from './scopes.js';
import { Tried } from './tried.js';
import type { Waiter } from './turns.js';

export interface LimitsHost extends Omit<ScopesHost, 'changed'> {
  /** What a start of a task takes; without a head, one of this name whose enqueue says nothing else. */
  costOf(name: string, queue: string, head?: Head): number;
  resumeLine(queue: string, lane: string): void;
  /** All lines that are held. */
  resumeAll(): void;
  /** Something may start that could not before. */
  wake(): void;
}

/** What a head may do, as the verdicts of the broker. */
export type LimitVerdict = 'take' | 'hold' | 'skipQueue' | 'stop';

/** What one start has taken. */
export interface Permit {
  readonly taken: Taken[];
}

/** A lane that waits, and where. */
interface Waiting extends Waiter {
  readonly gate: Scope;
}

/** Of a head that was not read yet: it is looked at before those that are known to be lower. */
const UNKNOWN_LEVEL = 9;
const NOTHING_SKIPPED: ReadonlySet<string> = new Set();

export class Limits {
  readonly #host: LimitsHost;
  readonly #scopes: Scopes;
  readonly #alarms: Alarms;
  /** Lanes that wait, each at one gate. */
  readonly #waiting = new Map<string, Waiting>();
  readonly #permits = new Map<Claim, Permit>();
  /** Gates to look at before the next claims. */
  #changed = new Set<Scope>();
  /** Gates whose lanes were resumed and have not been claimed from yet. */
  readonly #resuming = new Set<Scope>();
  readonly #tried = new Tried();
  #serial = 0;

  constructor(host: LimitsHost) {
    this.#host = host;
    this.#scopes = new Scopes({ ...host, changed: (scope) => this.#wake([scope]) });
    this.#alarms = new Alarms(host.clock, (scopes) => this.#wake(scopes));
  }

  /** Reads what earlier processes have left. */
  load(): Promise<void> {
    return this.#scopes.load();
  }

  /** Rules have changed, or handlers with theirs. @param running  Claims that have not ended: all of them. */
  rulesChanged(running: Iterable<Claim>): void {
    // They may have to wait elsewhere by now, or nowhere.
    for (const waiting of this.#waiting.values()) waiting.gate.turns.leave(waiting);
    this.#waiting.clear();
    this.foundNothing(NOTHING_SKIPPED);
    this.#scopes.rulesChanged();
    this.#host.resumeAll();
    for (const claim of running) this.#takeLate(claim);
    this.#host.wake();
  }

  /** Nothing starts any more. Resolves when what was reserved and not used is given back. */
  async close(): Promise<void> {
    this.#alarms.stop();
    await this.#scopes.close();
  }

  /** Resolves with true when something is told that was being written for starts; false when nothing is. */
  whenTold(): Promise<boolean> {
    return this.#scopes.whenTold();
  }

  /** The lane where a head belongs; where it stands elsewhere, it is to be moved there. `''` is any. */
  laneOf({ name, limitLane: lane }: Head): string {
    if (lane !== '') return lane;
    return this.#host.rules.ofName(name) === undefined ? '' : limitLane(name);
  }

  weightOf(queue: string, lane: string): number {
    return this.#scopes.lane(queue, lane).weight;
  }

  /** Before a head is read from the store: a lane without permits need not be read. */
  isOpen(queue: string, lane: string): boolean {
    const of = this.#scopes.lane(queue, lane);
    if (this.#waiting.has(of.id)) return false;
    const cost = this.#host.costOf(of.name, queue);
    const gate = this.#lackingGate(of, cost, UNKNOWN_LEVEL);
    if (gate === undefined) return true;
    this.#wait(of, gate, cost, UNKNOWN_LEVEL);
    return false;
  }

  /** Whether this head may start now. Takes nothing. */
  check(head: Head): LimitVerdict {
    const lane = this.#scopes.lane(head.queue, this.laneOf(head));
    if (lane.all.length === 0) return 'take';
    const cost = this.#host.costOf(head.name, head.queue, head);
    // It is looked at, so it does not wait: it may have been empty meanwhile.
    this.#leave(lane.id);
    const gate = this.#lackingGate(lane, cost, head.level);
    if (gate !== undefined) {
      this.#wait(lane, gate, cost, head.level);
      return 'hold';
    }
    if (this.#lacks(lane.ofQueue, cost)) return 'skipQueue';
    return this.#lacks(lane.ofRuntime, cost) ? 'stop' : 'take';
  }

  /** Whether starts of this head are counted: it goes to its thread alone, when that is idle. */
  isCounted(head: Head): boolean {
    return this.#scopes.lane(head.queue, this.laneOf(head)).all.length > 0;
  }

  /** Takes what a start needs, just after `check` has said `take`. */
  take(head: Head): Permit | undefined {
    this.#tried.clear();
    const lane = this.#scopes.lane(head.queue, this.laneOf(head));
    if (lane.all.length === 0) return undefined;
    const cost = this.#host.costOf(head.name, head.queue, head);
    return { taken: lane.all.map((scope) => this.#changedBy(scope, scope.take(lane.id, lane.weight, cost))) };
  }

  /** The permit is this claim's until it ends. */
  give(claim: Claim, permit: Permit): void {
    this.#permits.set(claim, permit);
  }

  /** A claim has ended. @param hasStarted  Otherwise its tokens are there again. */
  ended(claim: Claim, hasStarted: boolean): void {
    const permit = this.#permits.get(claim);
    if (permit === undefined) return;
    this.#permits.delete(claim);
    this.#end(permit, hasStarted);
    this.#host.wake();
  }

  /** A permit that no claim has got. Wakes nobody: a broker that fails would be asked again at once. */
  release(permit: Permit): void {
    this.#end(permit, false);
  }

  /** A round of claims begins: something may have happened since the last one. */
  begin(): void {
    this.#tried.clear();
    this.open();
  }

  /** Lets lanes go on whose gates have permits. @returns whether there are any to claim from. */
  open(): boolean {
    this.#scopes.tidy();
    let hasResumed = false;
    const changed = this.#changed;
    if (changed.size === 0) return false;
    this.#changed = new Set();
    for (const gate of changed) if (this.#open(gate)) hasResumed = true;
    return hasResumed;
  }

  /**
   * Claims have found nothing more to take: lanes that were resumed have nothing that could start.
   * @param skipped  Queues that were passed over.
   */
  foundNothing(skipped: ReadonlySet<string>): void {
    for (const gate of this.#resuming) {
      const before = gate.resumedCount;
      gate.foundNothing(skipped);
      if (gate.resumedCount < before && gate.turns.size > 0) this.#changed.add(gate);
      if (gate.resumedCount === 0) this.#resuming.delete(gate);
    }
  }

  #open(gate: Scope): boolean {
    let hasResumed = false;
    const tried: Waiter[] = [];
    for (let next = gate.turns.first; next !== undefined; next = gate.turns.first) {
      const ms = gate.lackMs(next.cost, true);
      const isTried = this.#tried.has(gate.id, next.id);
      // One more for each that was resumed for nothing: they are behind us soon, however many they are.
      if (ms > 0 && (gate.misses === 0 || isTried)) {
        this.#alarms.set(gate, ms);
        break;
      }
      if (isTried) {
        tried.push(gate.turns.takeFirst()!);
        continue;
      }
      if (ms > 0) gate.misses--;
      this.#waiting.delete(next.id);
      this.#tried.add(gate.id, next.id);
      gate.resume(next);
      this.#resuming.add(gate);
      hasResumed = true;
      this.#host.resumeLine(next.queue, next.lane);
    }
    for (const waiter of tried) gate.turns.add(waiter);
    // They have their turn when something has happened.
    if (tried.length > 0) this.#changed.add(gate);
    return hasResumed;
  }

  /** The first gate at which a lane has to wait. */
  #lackingGate(lane: Lane, cost: number, level: number): Scope | undefined {
    const by = lane.gates.find((gate) => gate.hasResumed(lane.id));
    const waitsInTurn = by === undefined;
    const lacking = lane.gates.find((gate) => {
      return (waitsInTurn && gate.turns.size > 0) || gate.lackMs(cost, false) > 0;
    });
    if (waitsInTurn || lacking !== undefined || !this.#isOutOfTurn(by, lane.id, level)) return lacking;
    return by;
  }

  #wait(lane: Lane, gate: Scope, cost: number, level: number): void {
    for (const each of lane.gates) if (each.leave(lane.id)) this.#changed.add(each);
    const { id, queue, line, weight } = lane;
    const [pass, serial] = [gate.passOf(id), this.#serial++];
    const waiting = { gate, id, queue, lane: line, weight, level, cost, pass, serial, hasLeft: false };
    gate.turns.add(waiting);
    this.#waiting.set(id, waiting);
    this.#changed.add(gate);
  }

  #leave(lane: string): void {
    const waiting = this.#waiting.get(lane);
    if (waiting === undefined) return;
    this.#waiting.delete(lane);
    waiting.gate.turns.leave(waiting);
    this.#changed.add(waiting.gate);
  }

  #lacks(scope: Scope | undefined, cost: number): boolean {
    const ms = scope?.lackMs(cost, false) ?? 0;
    if (ms === 0) return false;
    this.#alarms.set(scope!, ms);
    return true;
  }

  #changedBy(scope: Scope, taken: Taken): Taken {
    if (scope.turns.size > 0) this.#changed.add(scope);
    return taken;
  }

  #end({ taken }: Permit, hasStarted: boolean): void {
    for (const each of taken) {
      each.scope.ended(each, hasStarted);
      if (each.scope.turns.size > 0) this.#changed.add(each.scope);
    }
  }

  /** What runs already counts under rules that came later. */
  #takeLate(claim: Claim): void {
    const lane = this.#scopes.lane(claim.queue, this.laneOf(claim));
    if (lane.all.length === 0) return;
    const permit = this.#permits.get(claim) ?? { taken: [] };
    for (const scope of lane.all) {
      if (!permit.taken.some((each) => each.scope === scope)) permit.taken.push(scope.takeLate());
    }
    this.#permits.set(claim, permit);
  }

  #wake(scopes: readonly Scope[]): void {
    for (const scope of scopes) if (scope.turns.size > 0) this.#changed.add(scope);
    this.#host.wake();
  }

  /**
   * Whether a lane that a gate has resumed turns out to be of a lower level than the next one there: then it
   * waits again, once, by its true level. At other gates it does not wait in turn: it would lose its place at
   * this one, and two lanes could send each other from gate to gate for ever.
   */
  #isOutOfTurn(gate: Scope, lane: string, level: number): boolean {
    const { first } = gate.turns;
    if (first === undefined || first.level <= level || this.#tried.has(gate.id, first.id)) return false;
    return this.#tried.forgive(gate.id, lane);
  }
}
