/** What the sentences about flows say in one word. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import type { Claim } from '../../broker/broker.js';
import type {
  AcceptedFlow,
  FlowId,
  FlowNode,
  Flows,
  FlowView,
  From,
  ParentView,
} from '../../broker/flows.js';
import type { WhenParentDies } from '../../task/parents.js';
import type { TaskId } from '../../task/task.js';
import { type Draft, type Probe, resultOf, textOf } from './probe.js';

const DAY_MS = 86_400_000;
/** A part of a flow that goes on in later commits has ended long before so many turns. */
const MOST_TURNS = 100_000;

/** So many nodes of a sketch have keys. */
const NAMED = 100;

/** A node by its text: what it waits for, under the label `p` where none is said. */
export interface Sketch extends Draft {
  readonly after?: readonly (string | readonly [label: string, text: string])[];
  readonly dies?: WhenParentDies;
  /** A join of these instead of a task. */
  readonly of?: readonly string[];
}

/** The texts of nodes, and each node after the ones it names; `=id` names a task that was enqueued before. */
export type Sketches = Readonly<Record<string, Sketch>>;

/** A flow in the hands of a test. */
export class SketchedFlow {
  readonly id: FlowId;
  readonly #probe: Probe;
  readonly #ids: ReadonlyMap<string, TaskId>;

  constructor(probe: Probe, id: FlowId, ids: ReadonlyMap<string, TaskId>) {
    this.#probe = probe;
    this.id = id;
    this.#ids = ids;
  }

  idOf(text: string): TaskId {
    const id = this.#ids.get(text);
    assert.ok(id !== undefined, `the flow has a task ${text}`);
    return id;
  }

  async view(): Promise<FlowView> {
    const view = await flowsOf(this.#probe).get(this.id);
    assert.ok(view !== undefined, 'the flow is known');
    return view;
  }

  /** `running 1 of 3`, and what is not completed. */
  async progress(): Promise<string> {
    const { state, total, blocked, completed, dead, cancelled } = await this.view();
    const rest = Object.entries({ blocked, dead, cancelled }).filter(([, count]) => count > 0);
    return [`${state} ${completed} of ${total}`, ...rest.map(([name, count]) => `${count} ${name}`)].join(
      ', ',
    );
  }

  state(text: string): Promise<string | undefined> {
    return this.#probe.state(this.idOf(text));
  }

  async reason(text: string): Promise<string | undefined> {
    return (await this.#probe.view(this.idOf(text))).reason;
  }

  /** How the parents of a task look to it: their results, or what became of them. */
  async parents(text: string, label = 'p', limit = 1_000): Promise<string[]> {
    return (await this.parentViews(text, label, limit)).map(parentText);
  }

  async parentViews(text: string, label = 'p', limit = 1_000): Promise<ParentView[]> {
    const views: ParentView[] = [];
    for (let after: string | undefined; ; ) {
      const page = await flowsOf(this.#probe).parents(this.idOf(text), label, limit, after);
      assert.ok(page.parents.length <= limit);
      views.push(...page.parents);
      if (page.after === undefined) return views;
      after = page.after;
    }
  }
}

export function flowsOf(probe: Probe): Flows {
  assert.ok(probe.backend.flows !== undefined, 'a backend that does not lack flows has them');
  return probe.backend.flows;
}

function parentText(parent: ParentView): string {
  return parent.result === undefined ? `${parent.state} ${parent.reason ?? ''}`.trim() : resultOf(parent);
}

export function nodesOf(probe: Probe, sketches: Sketches): FlowNode[] {
  const places = new Map(Object.keys(sketches).map((text, place) => [text, place]));
  const from = (text: string): From => (text.startsWith('=') ? text.slice(1) : places.get(text)!);
  return Object.entries(sketches).map(([text, { after = [], dies, of, ...draft }], place): FlowNode => {
    if (of !== undefined) return { kind: 'join', of: of.map(from) };
    const edges = after.map((each) => (typeof each === 'string' ? (['p', each] as const) : each));
    return {
      kind: 'task',
      task: probe.draft({ text, ...draft }),
      after: edges.map(([label, parent]) => ({ label, from: from(parent) })),
      ...(dies === undefined ? {} : { whenParentDies: dies }),
      ...(place < NAMED ? { key: text } : {}),
    };
  });
}

/** Takes a flow in and waits until it is accepted. */
export async function sketch(probe: Probe, sketches: Sketches, keepMs = DAY_MS): Promise<SketchedFlow> {
  const retentionMs = { completed: keepMs, dead: keepMs, cancelled: keepMs };
  const intake = flowsOf(probe).flow({ retentionMs });
  await intake.add(nodesOf(probe, sketches));
  return sketched(probe, sketches, await intake.accept());
}

function sketched(probe: Probe, sketches: Sketches, { id, nodes }: AcceptedFlow): SketchedFlow {
  const ids = new Map<string, TaskId>();
  Object.entries(sketches).forEach(([text, { of }], place) => {
    if (of === undefined) ids.set(text, nodes.ticket(place).id);
  });
  return new SketchedFlow(probe, id, ids);
}

/** Claims all that can be claimed, and gives the claims by their texts. */
export async function takeAll(probe: Probe): Promise<Map<string, Claim>> {
  return new Map((await probe.take()).map((claim) => [textOf(claim), claim]));
}

/** Claims all that can be claimed, which are these, and completes or buries them. */
export async function run(
  probe: Probe,
  expected: readonly string[],
  ends: Readonly<Record<string, 'dies'>> = {},
): Promise<void> {
  const claims = await takeAll(probe);
  assert.deepEqual([...claims.keys()].sort(), [...expected].sort());
  for (const [text, claim] of claims) {
    await (ends[text] === 'dies' ? probe.bury([claim]) : probe.complete([claim]));
  }
}

/** Waits for what goes on in later commits. */
export async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  for (let turn = 0; !(await isSo()); turn++) {
    assert.ok(turn < MOST_TURNS, what);
    await setImmediate();
  }
}

/** A parent, and a child of each kind, each with a child of its own. */
export const KINDS = {
  top: {},
  fails: { after: ['top'] },
  'fails too': { after: ['fails'] },
  runs: { after: ['top'], dies: 'run' },
  'behind it': { after: ['runs'] },
  waits: { after: ['top'], dies: 'wait' },
} as const;

/** The same behind a group, of which one member dies. */
export const GROUP = {
  ...{ a: {}, b: {} },
  group: { of: ['a', 'b'] },
  fails: { after: ['group'] },
  runs: { after: ['group'], dies: 'run' },
  waits: { after: ['group'], dies: 'wait' },
} as const;

export async function states(flow: SketchedFlow, ...texts: readonly string[]): Promise<string[]> {
  const states: string[] = [];
  for (const text of texts) states.push(`${text} ${await flow.state(text)}`);
  return states;
}

export function added(probe: Probe, ...texts: readonly string[]) {
  return texts.map((text) => probe.draft({ text, inFlow: true }));
}
