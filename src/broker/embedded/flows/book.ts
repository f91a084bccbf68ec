/**
 * The flows themselves: their counters, which change in the same commit as what they count, their phases, and
 * who waits for their end. It knows nothing of edges.
 *
 *     staging ──accept──▶ running ──▶ completed │ dead │ cancelled ──retention, delete──▶ deleted
 *        │                 │    ▲          │
 *        │     cancel      ▼    │          ▼ redrive
 *        │             cancelling└──── redriving
 *        └──abandon──▶ deleted
 *
 * `deleted` lasts until the last row of the flow is gone.
 */
import { StoreCorruptError } from '../../../errors.js';
import type { FinalState } from '../../../task/task.js';
import type { FlowId, FlowView, SettledFlow } from '../../flows.js';
import { flowIdOf } from '../claim.js';
import type { Core } from '../core.js';
import { u48 } from '../keys.js';
import { type Flow, openFlow, sealFlow } from './rows.js';
import { FlowTelling } from './telling.js';

/** Flows kept in memory while nothing changes them. */
const KEPT_FLOWS = 1_000;

interface Waiter {
  readonly resolve: (settled: SettledFlow) => void;
  readonly reject: (error: Error) => void;
}

export class FlowBook {
  readonly telling: FlowTelling;
  readonly #core: Core;
  readonly #flows = new Map<number, Flow>();
  readonly #changed = new Set<number>();
  readonly #waiters = new Map<number, Waiter[]>();
  #ended: Error | undefined;

  constructor(core: Core) {
    this.#core = core;
    this.telling = new FlowTelling(core);
  }

  /** @throws {StoreCorruptError} */
  get(number: number): Flow | undefined {
    const known = this.#flows.get(number);
    if (known !== undefined) return known;
    const row = this.#core.tables.get('flow', u48(number));
    if (row === undefined) return undefined;
    const flow = openFlow(row, this.#core.where);
    this.#flows.set(number, flow);
    return flow;
  }

  /** The flow of a member. @throws {StoreCorruptError} */
  known(number: number): Flow {
    const flow = this.get(number);
    if (flow === undefined) throw new StoreCorruptError(this.#core.where, 'the flow of a task is missing');
    return flow;
  }

  put(flow: Flow): void {
    this.#flows.set(flow.number, flow);
    this.#changed.add(flow.number);
  }

  /** Its row goes; it was `deleted` before. */
  remove(number: number): void {
    this.#flows.delete(number);
    this.#changed.delete(number);
    this.#core.tables.delete('flow', u48(number));
  }

  /** Changes some values of a flow that is there. */
  change(number: number, values: Partial<Flow>): Flow {
    const flow = { ...this.known(number), ...values };
    this.put(flow);
    return flow;
  }

  isCancelling(number: number): boolean {
    return this.get(number)?.phase === 'cancelling';
  }

  /** A member comes in, blocked or not. */
  memberAdded(number: number, isBlocked: boolean): void {
    const { total, blocked } = this.known(number);
    this.change(number, { total: total + 1, blocked: blocked + (isBlocked ? 1 : 0) });
  }

  memberBlocked(number: number, change: 1 | -1): void {
    this.change(number, { blocked: this.known(number).blocked + change });
  }

  /** A member is final (`change` 1), or not any more (−1). @param isEnd  Nothing in the flow waits for it. */
  memberEnded(number: number, state: FinalState, isEnd: boolean, change: 1 | -1): void {
    const flow = this.known(number);
    const ends = isEnd ? change : 0;
    this.change(number, {
      [state]: flow[state] + change,
      ...(state === 'dead' ? { deadEnds: flow.deadEnds + ends } : {}),
      ...(state === 'cancelled' ? { cancelledEnds: flow.cancelledEnds + ends } : {}),
    });
    if (change === 1) this.endIfOver(number);
  }

  /** Something waits from now on for a member that has ended as one for which nothing waited. */
  endAwaited(number: number, state: FinalState): void {
    const { deadEnds, cancelledEnds } = this.known(number);
    if (state === 'dead') this.change(number, { deadEnds: deadEnds - 1 });
    else if (state === 'cancelled') this.change(number, { cancelledEnds: cancelledEnds - 1 });
  }

  endIfOver(number: number): void {
    const flow = this.known(number);
    if (flow.phase !== 'running' && flow.phase !== 'cancelling') return;
    if (flow.completed + flow.dead + flow.cancelled < flow.total) return;
    const state = flow.deadEnds > 0 ? 'dead' : flow.cancelledEnds > 0 ? 'cancelled' : 'completed';
    const settledAt = this.#core.now();
    const expiresAt = settledAt + flow.retentionMs[state];
    this.#core.commits.turn.expiries.add(expiresAt, 'flow', u48(number));
    const ended = this.change(number, { phase: state, settledAt, expiresAt });
    this.telling.flowEnded(() => this.settledOf(ended));
    this.#tell(ended);
  }

  /** Puts the rows that changed since the last call. */
  flush(): void {
    if (this.#changed.size > 0) {
      for (const number of this.#changed)
        this.#core.tables.put('flow', u48(number), sealFlow(this.#flows.get(number)!));
      this.#changed.clear();
    }
    if (this.#flows.size > KEPT_FLOWS) this.#flows.clear();
  }

  /** Resolves when the flow is final and that is flushed. */
  settled(flow: Flow): Promise<SettledFlow> {
    if (isFinalFlow(flow)) return this.#core.commits.flushed().then(() => this.settledOf(flow));
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const waiting = this.#waiters.get(flow.number);
      if (waiting === undefined) this.#waiters.set(flow.number, [{ resolve, reject }]);
      else waiting.push({ resolve, reject });
    });
  }

  /** Nothing will be settled here any more. */
  end(error: Error): void {
    this.#ended ??= error;
    for (const waiting of this.#waiters.values()) for (const { reject } of waiting) reject(error);
    this.#waiters.clear();
  }

  idOf(flow: Flow): FlowId {
    return flowIdOf(this.#core.storeNumber, flow.number);
  }

  settledOf(flow: Flow): SettledFlow {
    return { id: this.idOf(flow), state: flow.phase as FinalState, ...countsOf(flow) };
  }

  viewOf(flow: Flow): FlowView {
    const { name, phase, createdAt, settledAt, expiresAt } = flow;
    const isFinal = isFinalFlow(flow);
    return {
      id: this.idOf(flow),
      ...(name === '' ? {} : { name }),
      state: isFinal ? (phase as FinalState) : 'running',
      isCancelling: phase === 'cancelling',
      createdAt,
      ...(isFinal ? { settledAt } : {}),
      ...(isFinal && Number.isFinite(expiresAt) ? { expiresAt } : {}),
      ...countsOf(flow),
    };
  }

  /** Who comes later may wait for another end: the flow can be redriven before this one is flushed. */
  #tell(flow: Flow): void {
    const waiting = this.#waiters.get(flow.number);
    if (waiting === undefined) return;
    this.#waiters.delete(flow.number);
    this.#core.commits.turn.flushed.then(
      () => {
        for (const { resolve } of waiting) resolve(this.settledOf(flow));
      },
      (error) => {
        for (const { reject } of waiting) reject(error);
      },
    );
  }
}

export function isFinalFlow({ phase }: Flow): boolean {
  return phase === 'completed' || phase === 'dead' || phase === 'cancelled';
}

function countsOf({ total, blocked, completed, dead, cancelled }: Flow) {
  return { total, blocked, completed, dead, cancelled };
}
