/** Flows at the desk of another process that owns the tasks; see `remote-desk.ts`. */
import type { FlowId, FlowPage, FlowView, SettledFlow } from '../../broker/flows.js';
import type { Page } from '../../broker/inspect.js';
import type { FlowOptions, FlowPlan, PlannedNode } from '../../flow/types.js';
import { checkPage, type PageRequest } from '../../run/filters.js';
import type { FlowDesk, FlowReceipt, Member } from '../../run/flows/desk.js';
import type { Front } from '../../run/front.js';
import { formatId, ID_BYTES } from '../../task/id.js';
import type { OpenCall } from '../calls.js';
import { receivedView, type SentView } from '../forms.js';
import { type FlowAnswer, MAX_TASKS_PER_CALL, PART_BYTES, type Verb, type Verbs } from '../protocol.js';
import { untilAborted } from '../waiting-enqueue.js';
import type { SentNode } from './nodes.js';

const IDS_PER_TURN = 10_000;
/** About what a node has in a message beside its payload, and each of its parents. */
const NODE_BYTES = 100;
const EDGE_BYTES = 40;

export interface RemoteFlowsParts {
  readonly front: Front;
  /** A call after what was enqueued before in the same turn. @throws {StoppedError} */
  readonly begin: () => OpenCall;
}

export class RemoteFlows implements FlowDesk {
  readonly #parts: RemoteFlowsParts;
  /** Ends when no other flow is being sent in parts: the owner refuses too many at once. */
  #last: Promise<void> = Promise.resolve();

  constructor(parts: RemoteFlowsParts) {
    this.#parts = parts;
  }

  async enqueue(plan: FlowPlan, head: FlowOptions): Promise<FlowReceipt> {
    const call = this.#parts.begin();
    let signal: AbortSignal | undefined;
    let sentAll: (() => void) | undefined;
    try {
      let nodes: SentNode[] = [];
      let bytes = 0;
      for (const node of plan.nodes) {
        if (call.isOver) break;
        if (nodes.length === MAX_TASKS_PER_CALL || bytes > PART_BYTES) {
          sentAll ??= await this.#inLine();
          if (call.isOver) break;
          call.send('flow', { head, nodes, more: true });
          await call.drained();
          // This process has other things to do as well.
          await new Promise(setImmediate);
          nodes = [];
          bytes = 0;
        }
        const sent = this.#sentNode(node);
        nodes.push(sent);
        bytes += sizeOf(sent);
        if (node.kind === 'task') signal ??= node.options?.signal;
      }
      if (call.isOver) call.drop();
      else call.send('flow', { head, nodes, wanted: wantedOf(plan) });
    } catch (error) {
      call.drop();
      throw error;
    } finally {
      sentAll?.();
    }
    return receiptOf(plan, (await untilAborted(call, signal)) as FlowAnswer);
  }

  get(id: FlowId): Promise<FlowView | undefined> {
    return this.#ask('flowGet', { id });
  }

  async list(page: PageRequest): Promise<FlowPage> {
    return this.#ask('flowList', { page: checkPage(page) });
  }

  async tasks(id: FlowId, page: PageRequest): Promise<Page> {
    const found = await this.#ask<Omit<Page, 'tasks'> & { readonly tasks: readonly SentView[] }>(
      'flowTasks',
      {
        ...{ id, page: checkPage(page) },
      },
    );
    return { ...found, tasks: found.tasks.map((view) => receivedView(view)) };
  }

  settled(id: FlowId): Promise<SettledFlow> {
    return this.#ask('flowSettled', { id });
  }

  cancel(id: FlowId): Promise<boolean> {
    return this.#ask('flowCancel', { id });
  }

  redrive(id: FlowId): Promise<void> {
    return this.#ask('flowRedrive', { id });
  }

  delete(id: FlowId): Promise<void> {
    return this.#ask('flowDelete', { id });
  }

  /** @returns what to call when the next one may be sent in parts. */
  async #inLine(): Promise<() => void> {
    const before = this.#last;
    let next!: () => void;
    this.#last = new Promise((resolve) => {
      next = resolve;
    });
    await before;
    return next;
  }

  async #ask<Answer>(verb: Verb, args: Verbs[Verb]): Promise<Answer> {
    const call = this.#parts.begin();
    call.send(verb, args);
    return (await call.answer) as Answer;
  }

  #sentNode(node: PlannedNode): SentNode {
    if (node.kind === 'join') return node;
    const { kind, name, payload, options, after, whenParentDies, key } = node;
    const task = this.#parts.front.encode(name, payload, options);
    return { kind, task, after, whenParentDies, ...(key === undefined ? {} : { key }) };
  }
}

function sizeOf(node: SentNode): number {
  return node.kind === 'join'
    ? NODE_BYTES + node.of.length * EDGE_BYTES
    : NODE_BYTES + node.task.body.length + node.after.length * EDGE_BYTES;
}

/** The places of all that was returned, one after the other. */
function wantedOf({ returned }: FlowPlan): Uint32Array {
  return Uint32Array.from([...returned.values()].flat());
}

async function receiptOf({ returned }: FlowPlan, answer: FlowAnswer): Promise<FlowReceipt> {
  const { id, ids, old } = answer;
  const isOld = new Set(old);
  let at = 0;
  const next = (): Member => {
    const member = { id: formatId(ids, at * ID_BYTES), isNew: !isOld.has(at) };
    at++;
    return member;
  };
  const named = new Map<string, Member | readonly Member[]>();
  for (const [name, places] of returned) {
    if (typeof places === 'number') {
      named.set(name, next());
      continue;
    }
    const members: Member[] = [];
    while (members.length < places.length) {
      if (members.push(next()) % IDS_PER_TURN === 0) await new Promise(setImmediate);
    }
    named.set(name, members);
  }
  return { id, returned: named };
}
