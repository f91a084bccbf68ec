/**
 * Flows that a client sends in parts: each is taken in while it arrives, and nothing of it is left when it is
 * dropped before its end. See `batch-in-parts.ts` for batches.
 */
import type { AcceptedFlow } from '../../broker/flows.js';
import { InvalidArgumentError, QueueFullError, StoppedError } from '../../errors.js';
import { MAX_RETURNED } from '../../flow/types.js';
import { validateFlowOptions } from '../../options.js';
import type { FlowInParts } from '../../run/flows/in-parts.js';
import { taskNode } from '../../run/flows/local-flows.js';
import type { EncodedTask } from '../../run/front.js';
import type { LocalDesk } from '../../run/local-desk.js';
import { ID_BYTES, parseId } from '../../task/id.js';
import type { Connection } from '../connection.js';
import { type FlowAnswer, MAX_TASKS_PER_CALL, type Verbs } from '../protocol.js';
import { receivedNode } from './nodes.js';

/** Of one client: flows whose parts are under way, flows that go to the store in parts, and bytes kept. */
const MAX_FLOWS = 16;
const MAX_STAGED = 4;
const MAX_KEPT_BYTES = 64 * 1024 * 1024;
const IDS_PER_TURN = 10_000;

/** One flow under way. Its parts are taken one after another. */
interface Taking {
  readonly flow: FlowInParts;
  last: Promise<void>;
  /** Its last part has arrived. */
  isComplete: boolean;
  isDropped: boolean;
  /** Ends its wait for room. */
  readonly enough: AbortController;
}

export class FlowAnswering {
  readonly #desk: LocalDesk;
  readonly #connection: Connection;
  readonly #taskOf: (given: unknown) => EncodedTask;
  readonly #takings = new Map<number, Taking | 'refused'>();

  constructor(desk: LocalDesk, connection: Connection, taskOf: (given: unknown) => EncodedTask) {
    this.#desk = desk;
    this.#connection = connection;
    this.#taskOf = taskOf;
  }

  /** Whether a flow under this number waits for its further parts. */
  hasParts(call: number): boolean {
    const taking = this.#takings.get(call);
    return taking === 'refused' || taking?.isComplete === false;
  }

  /**
   * Takes one part. @returns as `Answering.answer`.
   * @throws (rejects) as `FlowDesk.enqueue`.
   */
  async take(args: Verbs['flow'], call: number): Promise<'later' | 'none' | { readonly value: FlowAnswer }> {
    const isLast = args.more !== true;
    const before = this.#takings.get(call);
    // Refused: what else of it was under way is dropped, up to its last part.
    if (before === 'refused') {
      if (!isLast) return 'later';
      this.#takings.delete(call);
      return 'none';
    }
    let taking = before;
    try {
      taking ??= this.#begin(args);
      this.#takings.set(call, taking);
      taking.isComplete = isLast;
      if (!isLast) this.#checkKept();
      await this.#add(taking, args.nodes);
      if (!isLast) return 'later';
      const places = placesOf(args.wanted);
      const accepted = await taking.flow.accept(taking.enough.signal);
      this.#takings.delete(call);
      return { value: await answerOf(accepted, places) };
    } catch (error) {
      if (!isLast && (taking === undefined || this.#takings.get(call) === taking)) {
        this.#takings.set(call, 'refused');
      } else if (isLast) this.#takings.delete(call);
      if (taking !== undefined) await drop(taking);
      throw error;
    }
  }

  /** The client wants nothing more of this call. @returns whether it ends without an answer. */
  end(call: number): boolean {
    const taking = this.#takings.get(call);
    if (taking === undefined || taking === 'refused') return this.#takings.delete(call);
    taking.enough.abort();
    // Whole, it may have been let in by now: what became of it is the answer.
    if (taking.isComplete) return false;
    drop(taking).catch(() => {});
    return this.#takings.delete(call);
  }

  /** Nobody is there for an answer. */
  close(): void {
    for (const [call, taking] of [...this.#takings]) {
      this.end(call);
      if (taking !== 'refused' && taking.isComplete) drop(taking).catch(() => {});
    }
  }

  #begin({ head }: Verbs['flow']): Taking {
    const options = validateFlowOptions(head, 'options');
    return {
      flow: this.#desk.flows.begin(options, () => this.#checkRoom()),
      last: Promise.resolve(),
      isComplete: false,
      isDropped: false,
      enough: new AbortController(),
    };
  }

  /** While a part waits to be stored, the client waits as well. */
  async #add(taking: Taking, given: unknown): Promise<void> {
    if (!Array.isArray(given) || given.length > MAX_TASKS_PER_CALL) {
      throw new InvalidArgumentError('nodes', `an array of at most ${MAX_TASKS_PER_CALL} nodes`, given);
    }
    const nodes = given.map((node) => receivedNode(node, this.#taskOf));
    const added = taking.last.then(async () => {
      for (const node of nodes) {
        if (taking.isDropped) throw new StoppedError('The flow');
        const full = taking.flow.add(
          node.kind === 'join' ? node : taskNode(node, await this.#desk.flows.fromClient(node.task)),
        );
        if (full !== undefined) await full;
      }
    });
    taking.last = added;
    const readAgain = this.#connection.pauseReading();
    try {
      await added;
    } finally {
      readAgain();
    }
  }

  /** The owner stages few flows at once: one client must not take all of them. */
  #checkRoom(): void {
    let staged = 1;
    for (const taking of this.#takings.values()) if (taking !== 'refused' && taking.flow.isStaged) staged++;
    if (staged > MAX_STAGED) throw new QueueFullError('Flows that this client stages', staged, MAX_STAGED);
  }

  /** @throws {QueueFullError} */
  #checkKept(): void {
    let count = 0;
    let bytes = 0;
    for (const taking of this.#takings.values()) {
      if (taking === 'refused' || !taking.isComplete) count++;
      if (taking !== 'refused') bytes += taking.flow.keptBytes;
    }
    if (count > MAX_FLOWS) throw new QueueFullError('Flows of this client under way', count, MAX_FLOWS);
    if (bytes > MAX_KEPT_BYTES) {
      throw new QueueFullError('Bytes of flows of this client under way', bytes, MAX_KEPT_BYTES);
    }
  }
}

/** Resolves when nothing of it is left, but for what is being added meanwhile, which comes to nothing. */
async function drop(taking: Taking): Promise<void> {
  taking.isDropped = true;
  await taking.last.catch(() => {});
  await taking.flow.abandon();
}

/** @throws {InvalidArgumentError} */
function placesOf(wanted: unknown): Uint32Array {
  if (wanted === undefined) return new Uint32Array(0);
  if (!(wanted instanceof Uint32Array) || wanted.length > MAX_RETURNED) {
    throw new InvalidArgumentError('wanted', `a Uint32Array of at most ${MAX_RETURNED} places`);
  }
  return wanted;
}

async function answerOf({ id, nodes }: AcceptedFlow, places: Uint32Array): Promise<FlowAnswer> {
  const ids = new Uint8Array(places.length * ID_BYTES);
  const old: number[] = [];
  for (const [at, place] of places.entries()) {
    if (at % IDS_PER_TURN === IDS_PER_TURN - 1) await new Promise(setImmediate);
    const ticket = nodes.ticket(place);
    ids.set(parseId(ticket.id)!, at * ID_BYTES);
    if (!ticket.isNew) old.push(at);
  }
  return { id, ids, old };
}
