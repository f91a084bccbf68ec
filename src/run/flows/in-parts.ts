/**
 * A flow on its way into the broker, node by node. What fits one commit is kept until it is complete; of a
 * larger one the broker gets parts, between which the host's event loop turns. Large payloads are in their
 * files by then.
 */
import type { AcceptedFlow, FlowHead, FlowIntake, FlowNode, Flows } from '../../broker/flows.js';
import { MAX_NODES_AT_ONCE } from '../../broker/flows.js';
import type { EpochMs } from '../../clock.js';
import { StoppedError } from '../../errors.js';
import type { NewTask } from '../../task/task.js';
import type { Coordinator } from '../coordinator.js';

/** What is kept of a flow that fits one commit. */
const MAX_KEPT_BYTES = 64 * 1024 * 1024;
/** A part ends at so many nodes or bytes: about the time that the host can spare in one turn. */
const PART_NODES = 1_000;
const PART_BYTES = 1024 * 1024;

interface Closed {
  readonly flushed: Promise<AcceptedFlow>;
}

/** What flows that come in at once have to do with each other. */
export interface FlowAdmission {
  /**
   * Asked before one goes to the broker in parts; throws when too many do. What it returns is awaited, and
   * called when that is over.
   */
  staging(): Promise<() => void> | undefined;
  /** Small ones go to the broker one by one: it takes in few at once, and these take a moment each. */
  inTurn<Value>(go: () => Promise<Value>): Promise<Value>;
}

export class FlowInParts {
  readonly #flows: Flows;
  readonly #head: FlowHead;
  readonly #coordinator: Coordinator;
  readonly #admission: FlowAdmission;
  /** For events: of each task its name and queue, of a join nothing; absent while nobody listens. */
  readonly #told: ({ readonly name: string; readonly queue: string } | undefined)[] | undefined;
  #intake: FlowIntake | undefined;
  #isStaged = false;
  #isAbandoned = false;
  /** The broker has some of the last nodes: then there is no second try. */
  #isHalfGiven = false;
  #endStaging = (): void => {};
  #nodes: FlowNode[] = [];
  #bytes = 0;
  /** Those of the last part whose payloads are in files. */
  #apart: NewTask[] = [];
  #dueAt: EpochMs = Number.POSITIVE_INFINITY;
  /** Nodes and bytes since the event loop turned. */
  #turnNodes = 0;
  #turnBytes = 0;

  constructor(flows: Flows, head: FlowHead, coordinator: Coordinator, admission: FlowAdmission) {
    this.#flows = flows;
    this.#head = head;
    this.#coordinator = coordinator;
    this.#admission = admission;
    this.#told = coordinator.events.wants('enqueued') ? [] : undefined;
  }

  /** It goes to the broker in parts. */
  get isStaged(): boolean {
    return this.#isStaged;
  }

  /** Payloads that are in memory. */
  get keptBytes(): number {
    return this.#bytes;
  }

  /** One call at a time. A promise only where the next node has to wait. */
  add(node: FlowNode): Promise<void> | undefined {
    let bytes = 0;
    if (node.kind === 'task') {
      const { name, queue, body, runAt } = node.task;
      bytes = body.length;
      if (runAt !== undefined && runAt < this.#dueAt) this.#dueAt = runAt;
      this.#told?.push({ name, queue });
    } else this.#told?.push(undefined);
    this.#nodes.push(node);
    this.#bytes += bytes;
    this.#turnBytes += bytes;
    if (++this.#turnNodes < PART_NODES && this.#turnBytes < PART_BYTES) return undefined;
    this.#turnNodes = 0;
    this.#turnBytes = 0;
    return this.#turn();
  }

  /**
   * Resolves when all of it is accepted. `abandon` it when it is not. One that goes to the broker as a whole
   * comes in as a batch does where too much waits already.
   * @param signal  Ends its wait for room, as do those of its tasks.
   */
  async accept(signal?: AbortSignal): Promise<AcceptedFlow> {
    const { promoter, idle } = this.#coordinator;
    this.#coordinator.checkOpen();
    const nodes = await this.#takeNodes();
    if (!this.#isStaged && nodes.length > MAX_NODES_AT_ONCE) await this.#beginStaging();
    const accepted = await (this.#isStaged
      ? this.#close(nodes).then(({ flushed }) => flushed)
      : this.#acceptWhole(nodes, signal));
    this.#endStaging();
    if (Number.isFinite(this.#dueAt)) promoter.due(this.#dueAt);
    idle.look();
    await this.#tell(accepted);
    return accepted;
  }

  /** Resolves when nothing of it is left; does nothing once it is accepted. */
  async abandon(): Promise<void> {
    this.#isAbandoned = true;
    this.#nodes = [];
    this.#bytes = 0;
    try {
      await this.#intake?.abandon();
    } finally {
      this.#endStaging();
    }
    this.#coordinator.gather.drop(this.#apart);
    this.#coordinator.idle.look();
  }

  async #turn(): Promise<void> {
    const isKept = this.#bytes <= MAX_KEPT_BYTES && this.#nodes.length <= MAX_NODES_AT_ONCE;
    if (!this.#isStaged && !isKept) await this.#beginStaging();
    if (this.#isStaged) await this.#give(await this.#takeNodes());
    await new Promise(setImmediate);
  }

  async #beginStaging(): Promise<void> {
    const staging = this.#admission.staging();
    this.#isStaged = true;
    if (staging !== undefined) this.#endStaging = await staging;
  }

  async #acceptWhole(nodes: FlowNode[], signal: AbortSignal | undefined): Promise<AcceptedFlow> {
    const { pressure, gather } = this.#coordinator;
    const tasks = tasksOf(nodes);
    if (signal !== undefined && tasks.length > 0) tasks[0] = { ...tasks[0]!, signal };
    let release = (): void => {};
    if (pressure.isOn && tasks.length > 0) {
      gather.flush();
      release = await pressure.hold(tasks);
    }
    const close = async (): Promise<Closed> => {
      try {
        return await this.#close(nodes);
      } finally {
        release();
        release = () => {};
      }
    };
    for (;;) {
      try {
        return await (await this.#admission.inTurn(close)).flushed;
      } catch (error) {
        if (tasks.length === 0 || this.#isHalfGiven) throw error;
        await pressure.again(tasks, error);
      }
    }
  }

  /** Resolves when the next flow may come, before this one is flushed. */
  async #close(nodes: FlowNode[]): Promise<Closed> {
    await this.#give(nodes);
    // Given once, though the broker may have no room yet.
    nodes.length = 0;
    this.#coordinator.checkOpen();
    // What was enqueued before in the same turn stands before it.
    this.#coordinator.gather.flush();
    const flushed = this.#intake!.accept();
    // Awaited once the next flow has its turn.
    flushed.catch(() => {});
    return { flushed };
  }

  /** What came since the last time, its large payloads in files. */
  async #takeNodes(): Promise<FlowNode[]> {
    const { gather } = this.#coordinator;
    const nodes = this.#nodes;
    this.#nodes = [];
    this.#bytes = 0;
    this.#apart = [];
    for (const [at, node] of nodes.entries()) {
      if (node.kind !== 'task' || !gather.isLarge(node.task)) continue;
      const task = await gather.apart(node.task);
      this.#apart.push(task);
      nodes[at] = { ...node, task };
    }
    return nodes;
  }

  async #give(nodes: readonly FlowNode[]): Promise<void> {
    // While it waited; the files of its payloads are gone.
    if (this.#isAbandoned) throw new StoppedError('The flow');
    this.#coordinator.checkOpen();
    if (this.#isStaged) this.#coordinator.pressure.checkStaged(tasksOf(nodes));
    this.#intake ??= this.#flows.flow(this.#head);
    this.#isHalfGiven = true;
    for (let from = 0; from < nodes.length; from += MAX_NODES_AT_ONCE) {
      await this.#intake.add(nodes.slice(from, from + MAX_NODES_AT_ONCE));
    }
    this.#isHalfGiven = false;
  }

  async #tell({ nodes }: AcceptedFlow): Promise<void> {
    const { events, clock } = this.#coordinator;
    if (this.#told === undefined) return;
    for (const [at, of] of this.#told.entries()) {
      if (!events.wants('enqueued')) return;
      if (at % PART_NODES === PART_NODES - 1) await new Promise(setImmediate);
      if (of === undefined) continue;
      events.tell({ kind: 'enqueued', taskId: nodes.ticket(at).id, ...of, at: clock.now() });
    }
  }
}

function tasksOf(nodes: readonly FlowNode[]): NewTask[] {
  return nodes.flatMap((node) => (node.kind === 'task' ? [node.task] : []));
}
