/**
 * Plans of random flows against a naive reading of what was said: who waits for whom, under which label and
 * in which order. A failing run prints its seed.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FlowBuilder, planFlow } from '#src/flow/flow.js';
import type { FlowPlan, FlowStep, PlannedTask } from '#src/flow/types.js';

/** A step as it was said; a task is known by its number, which is its payload. */
type Said = 'task' | { readonly group: readonly Said[] } | { readonly chain: readonly Said[] };
interface SaidFlow {
  readonly steps: readonly Said[];
  /** Tasks after the steps of these numbers, each under a label of its own. */
  readonly children: readonly (readonly number[])[];
}

const said = fc.letrec<{ step: Said }>((tie) => ({
  step: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant<Said>('task'),
    fc.record({ group: fc.array(tie('step'), { maxLength: 4 }) }),
    fc.record({ chain: fc.array(tie('step'), { minLength: 2, maxLength: 4 }) }),
  ),
})).step;
const flows: fc.Arbitrary<SaidFlow> = fc.record({
  steps: fc.array(said, { minLength: 1, maxLength: 6 }),
  children: fc.array(fc.array(fc.nat({ max: 20 }), { maxLength: 4 }), { minLength: 1, maxLength: 6 }),
});

/** The parents of each task by label, in order. */
type Parents = Map<number, Record<string, readonly number[]>>;

/** Says the flow to a builder and to the naive model at once. */
class Saying {
  readonly parents: Parents = new Map();
  readonly #f: FlowBuilder<{ t: (n: number) => void }>;

  constructor(f: FlowBuilder<{ t: (n: number) => void }>) {
    this.#f = f;
  }

  step(said: Said): { step: FlowStep; firsts: readonly number[]; lasts: readonly number[] } {
    if (said === 'task') {
      const number = this.parents.size;
      this.parents.set(number, {});
      return { step: this.#f.task('t', number), firsts: [number], lasts: [number] };
    }
    if ('group' in said) {
      const inner = said.group.map((each) => this.step(each));
      const step = this.#f.group(inner.map((each) => each.step));
      return {
        step,
        firsts: inner.flatMap(({ firsts }) => firsts),
        lasts: inner.flatMap(({ lasts }) => lasts),
      };
    }
    const inner = said.chain.map((each) => this.step(each));
    const step = this.#f.chain(...(inner.map((each) => each.step) as unknown as [FlowStep, FlowStep]));
    const filled = inner.filter(({ firsts }) => firsts.length > 0);
    for (let at = 1; at < filled.length; at++) {
      for (const first of filled[at]!.firsts) this.parents.get(first)!.previous = filled[at - 1]!.lasts;
    }
    return { step, firsts: filled[0]?.firsts ?? [], lasts: filled.at(-1)?.lasts ?? [] };
  }

  child(parents: readonly { readonly step: FlowStep; readonly lasts: readonly number[] }[]) {
    const number = this.parents.size;
    const label = (at: number): string => `l${at}`;
    this.parents.set(number, Object.fromEntries(parents.map(({ lasts }, at) => [label(at), lasts])));
    const after = Object.fromEntries(parents.map(({ step }, at) => [label(at), step]));
    return { step: this.#f.task('t', number, { after }), firsts: [number], lasts: [number] };
  }
}

function say({ steps, children }: SaidFlow): { plan: FlowPlan; parents: Parents } {
  let parents: Parents = new Map();
  const plan = planFlow((f) => {
    const saying = new Saying(f);
    const all = steps.map((step) => saying.step(step));
    for (const child of children) all.push(saying.child(child.map((at) => all[at % all.length]!)));
    parents = saying.parents;
  });
  return { plan, parents };
}

/** The same, as the plan has it. */
function planned({ nodes }: FlowPlan): Parents {
  const parents: Parents = new Map();
  const tasksAt = (place: number): number[] => {
    const node = nodes[place]!;
    if (node.kind === 'task') return [node.payload as number];
    return node.of.flatMap((each) => {
      const { first, count } = typeof each === 'object' ? each : { first: each as number, count: 1 };
      return Array.from({ length: count }, (_, at) => (nodes[first + at] as PlannedTask).payload as number);
    });
  };
  for (const node of nodes) {
    if (node.kind !== 'task') continue;
    const labels: Record<string, number[]> = {};
    for (const { label, from } of node.after) {
      labels[label] = [...(labels[label] ?? []), ...tasksAt(from as number)];
    }
    parents.set(node.payload as number, labels);
  }
  return parents;
}

describe('the plan of a random flow', () => {
  it('lets each task wait for exactly what was said to come before it', () => {
    fc.assert(
      fc.property(flows, (flow) => {
        const { plan, parents } = say(flow);
        expect(new Map([...planned(plan)].toSorted(([a], [b]) => a - b))).toEqual(parents);
      }),
      { numRuns: 300 },
    );
  });

  it('has parents before children, and of joins only those that something waits for', () => {
    fc.assert(
      fc.property(flows, (flow) => {
        const { nodes } = say(flow).plan;
        const awaited = new Set<number>();
        nodes.forEach((node, place) => {
          const froms =
            node.kind === 'task'
              ? node.after.map(({ from }) => from)
              : node.of.map((each) => (typeof each === 'object' ? each.first + each.count - 1 : each));
          for (const from of froms as number[]) {
            expect(from).toBeLessThan(place);
            if (node.kind === 'task') awaited.add(from);
            else expect(nodes[from]!.kind).toBe('task');
          }
        });
        nodes.forEach((node, place) => {
          if (node.kind === 'join') expect(awaited.has(place)).toBe(true);
        });
      }),
      { numRuns: 300 },
    );
  });
});
