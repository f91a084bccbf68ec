/** Flows at the desk of the process that owns the tasks. */
import type { Backend } from '../../broker/broker.js';
import type {
  AcceptedFlow,
  FlowHead,
  FlowId,
  FlowNode,
  FlowPage,
  Flows,
  FlowView,
  SettledFlow,
} from '../../broker/flows.js';
import type { Page } from '../../broker/inspect.js';
import { UnsupportedError } from '../../errors.js';
import type { FlowOptions, FlowPlan, PlannedNode } from '../../flow/types.js';
import { DEFAULT_RULES } from '../../options.js';
import type { NewTask, TaskView } from '../../task/task.js';
import type { Coordinator } from '../coordinator.js';
import { checkPage, type PageRequest } from '../filters.js';
import type { EncodedTask } from '../front.js';
import type { FlowDesk, FlowReceipt, Member } from './desk.js';
import { FlowInParts } from './in-parts.js';

export interface LocalFlowsParts {
  readonly backend: Backend;
  readonly coordinator: Coordinator;
  /** Leaves out of a view what its task hides. */
  readonly concealed: (view: TaskView) => TaskView;
}

/** Flows of this process that go to the broker in parts at once: a part of those that it takes in. */
const STAGED_AT_ONCE = 4;
/** Members named in one turn. */
const MEMBERS_PER_TURN = 10_000;

export class LocalFlows implements FlowDesk {
  readonly #parts: LocalFlowsParts;
  #last: Promise<unknown> = Promise.resolve();
  #staged = 0;
  /** Who waits for one of these to be over. */
  readonly #line: (() => void)[] = [];

  constructor(parts: LocalFlowsParts) {
    this.#parts = parts;
  }

  async enqueue(plan: FlowPlan, options: FlowOptions): Promise<FlowReceipt> {
    const intake = this.begin(options);
    try {
      for (const node of plan.nodes) {
        const prepared = this.#prepare(node);
        const full = intake.add(prepared instanceof Promise ? await prepared : prepared);
        if (full !== undefined) await full;
      }
      const accepted = await intake.accept();
      return { id: accepted.id, returned: await returnedOf(plan, accepted) };
    } catch (error) {
      // What cannot be taken away now is hidden, and taken away by the next owner.
      await intake.abandon().catch(() => {});
      throw error;
    }
  }

  /**
   * A flow whose nodes come one by one.
   * @param checkRoom  Asked before it goes to the broker in parts; otherwise it waits in line for that.
   * @throws {StoppedError} {@link UnsupportedError}
   */
  begin({ name, retentionMs }: FlowOptions, checkRoom?: () => void): FlowInParts {
    const { coordinator } = this.#parts;
    coordinator.checkOpen();
    const kept = { retentionMs: { ...DEFAULT_RULES.retentionMs, ...retentionMs } };
    const head: FlowHead = name === undefined ? kept : { ...kept, name };
    return new FlowInParts(this.#flows, head, coordinator, {
      staging: () => (checkRoom === undefined ? this.#staging() : void checkRoom()),
      inTurn: (go) => this.#inTurn(go),
    });
  }

  /** A task of a flow that a client has encoded. @throws as {@link Front.fromClient} */
  fromClient(task: EncodedTask): NewTask | Promise<NewTask> {
    return this.#parts.coordinator.front.fromClient(task);
  }

  get(id: FlowId): Promise<FlowView | undefined> {
    return this.#reachable.get(id);
  }

  async list(page: PageRequest): Promise<FlowPage> {
    const { limit, after } = checkPage(page);
    return this.#reachable.list(limit, after);
  }

  async tasks(id: FlowId, page: PageRequest): Promise<Page> {
    const { limit, after } = checkPage(page);
    const found = await this.#reachable.tasks(id, limit, after);
    return { ...found, tasks: found.tasks.map(this.#parts.concealed) };
  }

  settled(id: FlowId): Promise<SettledFlow> {
    return this.#reachable.settled(id);
  }

  async cancel(id: FlowId): Promise<boolean> {
    const { executor, idle } = this.#parts.coordinator;
    const answer = await this.#reachable.cancel(id, 'cancelled');
    for (const claim of answer?.running ?? []) executor.cancel(claim, 'cancelled');
    idle.look();
    return answer !== undefined;
  }

  redrive(id: FlowId): Promise<void> {
    return this.#reachable.redrive(id);
  }

  delete(id: FlowId): Promise<void> {
    return this.#reachable.delete(id);
  }

  #inTurn<Value>(go: () => Promise<Value>): Promise<Value> {
    const done = this.#last.then(go);
    this.#last = done.catch(() => {});
    return done;
  }

  async #staging(): Promise<() => void> {
    if (this.#staged < STAGED_AT_ONCE) this.#staged++;
    else await new Promise<void>((resolve) => this.#line.push(resolve));
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      const next = this.#line.shift();
      if (next === undefined) this.#staged--;
      else next();
    };
  }

  /** After what was enqueued before in the same turn. @throws {StoppedError} {@link UnsupportedError} */
  get #reachable(): Flows {
    const { coordinator } = this.#parts;
    coordinator.checkReachable();
    coordinator.gather.flush();
    return this.#flows;
  }

  get #flows(): Flows {
    const { flows, broker } = this.#parts.backend;
    if (flows === undefined) throw new UnsupportedError('flows', broker.lacks.flows ?? 'not implemented');
    return flows;
  }

  #prepare(node: PlannedNode): FlowNode | Promise<FlowNode> {
    if (node.kind === 'join') return node;
    const { name, payload, options } = node;
    const prepared = this.#parts.coordinator.front.prepare(name, payload, options);
    return prepared instanceof Promise
      ? prepared.then((task) => taskNode(node, task))
      : taskNode(node, prepared);
  }
}

/** What is said of a task in a flow beside the task itself. */
export type Placing = Pick<FlowNode & { kind: 'task' }, 'after' | 'whenParentDies' | 'key'>;

export function taskNode({ after, whenParentDies, key }: Placing, task: NewTask): FlowNode {
  return {
    ...{ kind: 'task', task },
    ...(after === undefined ? {} : { after }),
    ...(whenParentDies === undefined ? {} : { whenParentDies }),
    ...(key === undefined ? {} : { key }),
  };
}

async function returnedOf({ returned }: FlowPlan, { nodes }: AcceptedFlow): Promise<FlowReceipt['returned']> {
  const named = new Map<string, Member | readonly Member[]>();
  const memberAt = (place: number): Member => {
    const { id, isNew } = nodes.ticket(place);
    return { id, isNew };
  };
  for (const [name, places] of returned) {
    if (typeof places === 'number') {
      named.set(name, memberAt(places));
      continue;
    }
    const members: Member[] = [];
    for (const place of places) {
      // The host goes on while there are a million.
      if (members.push(memberAt(place)) % MEMBERS_PER_TURN === 0) await new Promise(setImmediate);
    }
    named.set(name, members);
  }
  return named;
}
