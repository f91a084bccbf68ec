/** The builder of flows: what it makes of what its user says, and what it refuses. Nothing is opened. */
import { describe, expect, it } from 'vitest';
import { type FlowBuilder, planFlow } from '#src/flow/flow.js';
import type { FlowPlan, FlowTask, PlannedEdge, PlannedJoin, PlannedTask } from '#src/flow/types.js';
import { formatId } from '#src/task/id.js';

// biome-ignore lint/suspicious/noExplicitAny: any names and payloads
type Build = (f: FlowBuilder<any>) => unknown;
const ID = formatId(Uint8Array.from({ length: 16 }, (_, at) => at));
const MANY = 30_000;

/** `name(label: parents …)` for each task, groups as `[places]`. */
function shown({ nodes }: FlowPlan): string[] {
  return nodes.map((node) => {
    if (node.kind === 'join') return `[${placesOf(node).join()}]`;
    const labels = [...new Set(node.after.map(({ label }) => label))].map(
      (label) => `${label}: ${parentsOf(node, label).join()}`,
    );
    return labels.length === 0 ? node.name : `${node.name}(${labels.join('; ')})`;
  });
}

function placesOf({ of }: PlannedJoin): (number | string)[] {
  return of.flatMap((each): (number | string)[] =>
    typeof each !== 'object' ? [each] : Array.from({ length: each.count }, (_, at) => each.first + at),
  );
}

function parentsOf(node: PlannedTask, label: string): PlannedEdge['from'][] {
  return node.after.filter((edge) => edge.label === label).map(({ from }) => from);
}

function refusalOf(build: unknown): { code: string; message: string } {
  try {
    planFlow(build as Build);
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error('it was taken');
}

describe('the plan of a flow', () => {
  const PLANS: readonly [what: string, build: Build, nodes: readonly string[]][] = [
    ['one task', (f) => void f.task('a', 1), ['a']],
    [
      'a task after others',
      (f) => void f.task('c', 0, { after: { x: f.task('a', 0), y: f.task('b', 0) } }),
      ['a', 'b', 'c(x: 0; y: 1)'],
    ],
    [
      'a chain',
      (f) => void f.chain(f.task('a', 0), f.task('b', 0), f.task('c', 0)),
      ['a', 'b(previous: 0)', 'c(previous: 1)'],
    ],
    [
      'a group, as one node however many wait for it',
      (f) => {
        const all = f.group([f.task('a', 0), f.task('b', 0)]);
        f.task('c', 0, { after: { all } });
        f.task('d', 0, { after: { all } });
      },
      ['a', 'b', '[0,1]', 'c(all: 2)', 'd(all: 2)'],
    ],
    [
      'a group and what is said to come then',
      (f) => void f.group([f.task('a', 0), f.task('b', 0)]).then(f.task('c', 0)),
      ['a', 'b', '[0,1]', 'c(previous: 2)'],
    ],
    [
      'a group in the midst of a chain: each of its steps comes after the one before',
      (f) => void f.chain(f.task('a', 0), f.group([f.task('b', 0), f.task('c', 0)]), f.task('d', 0)),
      ['a', 'b(previous: 0)', 'c(previous: 0)', '[1,2]', 'd(previous: 3)'],
    ],
    [
      'a group after a group: one edge for each of its steps',
      (f) =>
        void f.chain(f.group([f.task('a', 0), f.task('b', 0)]), f.group([f.task('c', 0), f.task('d', 0)])),
      ['a', 'b', '[0,1]', 'c(previous: 2)', 'd(previous: 2)'],
    ],
    [
      'a group of chains and groups, as the tasks that are last in each',
      (f) => {
        const inner = f.group([f.task('a', 0)]);
        const chain = f.chain(f.task('b', 0), f.task('c', 0));
        f.task('d', 0, { after: { all: f.group([chain, inner]) } });
      },
      ['a', 'b', 'c(previous: 1)', '[2,0]', 'd(all: 3)'],
    ],
    [
      'several parents under one label, in their order',
      (f) => {
        const [a, b] = [f.task('a', 0), f.task('b', 0)];
        f.task('c', 0, { after: { both: [b, a] } });
      },
      ['a', 'b', 'c(both: 1,0)'],
    ],
    [
      'tasks enqueued earlier, by id and by handle',
      (f) => void f.task('a', 0, { after: { x: ID, y: [{ id: ID }] } }),
      [`a(x: ${ID}; y: ${ID})`],
    ],
    [
      'labels without parents',
      (f) => void f.task('a', 0, { after: { none: [], empty: f.group([]) } }),
      ['[]', '[]', 'a(none: 1; empty: 0)'],
    ],
    [
      'empty groups in a chain, which stand for nothing',
      (f) => {
        const none = f.group([]);
        const [a, b, c] = [f.task('a', 0), f.task('b', 0), f.task('c', 0)];
        const chain = f.chain(
          none,
          f.chain(none, a, none),
          f.group([none]),
          f.group([f.chain(none, b)]),
          none,
        );
        f.chain(chain, none, c);
        f.task('d', 0, { after: { x: f.chain(none, none) } });
      },
      ['[]', 'a', 'b(previous: 1)', '[2]', 'c(previous: 3)', 'd(x: 0)'],
    ],
    [
      'parents that were added later: they stand before their children',
      (f) => {
        const book = f.task('book', 0);
        f.chain(f.task('page', 0), book);
      },
      ['page', 'book(previous: 0)'],
    ],
  ];

  for (const [what, build, nodes] of PLANS) {
    it(`holds ${what}`, () => {
      expect(shown(planFlow(build))).toEqual(nodes);
    });
  }

  it('keeps payloads, options, and what happens when a parent dies', () => {
    const payload = { file: 'a.svg' };
    const { nodes, taskCount } = planFlow((f) => {
      const render = f.task('render', payload, { priority: 'high', delayMs: 5 });
      f.task('bind', 0, { after: { render }, whenParentDies: 'wait' });
    });
    expect(taskCount).toBe(2);
    expect(nodes[0]).toMatchObject({
      payload,
      options: { priority: 'high', delayMs: 5 },
      whenParentDies: 'fail',
    });
    expect(nodes[1]).toMatchObject({ whenParentDies: 'wait' });
    expect(nodes[1]).not.toHaveProperty('options');
  });

  it('makes one node of more parents than a task may have', () => {
    const { nodes } = planFlow((f) => {
      const pages = Array.from({ length: 1_001 }, (_, at) => f.task('page', at));
      f.task('book', 0, { after: { cover: f.task('cover', 0), pages, index: ID } });
    });
    expect(nodes.slice(1_001)).toMatchObject([
      { name: 'cover' },
      { kind: 'join', of: [{ first: 0, count: 1_001 }] },
      {
        after: [
          { label: 'cover', from: 1_001 },
          { label: 'pages', from: 1_002 },
          { label: 'index', from: ID },
        ],
      },
    ]);
  });

  it('names the tasks that were returned, for whoever looks at the flow later', () => {
    const { nodes } = planFlow((f) => {
      const a = f.task('a', 0);
      return { a, last: f.chain(a, f.task('b', 0)), again: a };
    });
    expect(nodes).toMatchObject([{ key: 'a' }, { key: 'last' }]);
  });

  it('knows the places of what was returned: of a group all of its tasks, of a chain the last', () => {
    const { returned, nodes } = planFlow((f) => {
      const [a, b, c] = [f.task('a', 0), f.task('b', 0), f.task('c', 0)];
      f.chain(c, a);
      return { a, both: f.group([b, f.chain(a, f.task('d', 0))]), chain: f.chain(b, f.task('e', 0)) };
    });
    const name = (place: number): string => (nodes[place] as PlannedTask).name;
    expect(name(returned.get('a') as number)).toBe('a');
    expect((returned.get('both') as number[]).map(name)).toEqual(['b', 'd']);
    expect(name(returned.get('chain') as number)).toBe('e');
  });

  it('is made in time that grows with the flow, not with its square', () => {
    const { nodes, taskCount } = planFlow((f) => {
      const last = f.task('last', 0);
      const tasks = Array.from({ length: MANY }, (_, at) => f.task('page', at));
      // Against the order of their places, one after the other, and all of them as parents of one.
      f.chain(...(tasks.toReversed() as [(typeof tasks)[0], (typeof tasks)[0]]));
      f.task('wide', 0, { after: { pages: tasks } });
      for (let at = 0; at < MANY; at++) f.task('child', at, { after: { pages: f.group([last]) } });
      f.chain(f.group(tasks), last);
    });
    expect(taskCount).toBe(2 * MANY + 2);
    nodes.forEach((node, place) => {
      const parents = node.kind === 'join' ? placesOf(node) : node.after.map(({ from }) => from as number);
      for (const parent of parents as number[])
        if (parent >= place) throw new Error(`${parent} stands behind ${place}`);
    });
  });
});

describe('a flow is refused', () => {
  const REFUSED: readonly [what: string, build: unknown, message: string | RegExp][] = [
    ['that is no function', {}, 'build must be a function'],
    ['that is async', async (f: Parameters<Build>[0]) => void f.task('a', 0), 'this one is async'],
    ['without tasks', () => {}, 'build must be a function that adds a task'],
    ['that returns a step instead of steps by name', (f) => f.task('a', 0), 'steps by name'],
    [
      'that returns a group, although it has a method then',
      (f) => f.group([f.task('a', 0)]),
      'steps by name',
    ],
    [
      'that returns what is no step',
      (f) => ({ a: f.task('a', 0), b: 1 }),
      'the returned b must be a step of this flow, not 1',
    ],
    [
      'with a cycle, naming the tasks on it in the order of the steps',
      (f) => {
        const [a, b, c] = [f.task('a', 0), f.task('b', 0), f.task('c', 0)];
        f.chain(a, b, c);
        f.task('d', 0, { after: { c } });
        f.chain(f.group([c]), a);
      },
      'a → b → c → a is one',
    ],
    [
      'with a task after itself',
      (f) => {
        const a = f.task('a', 0);
        f.chain(a, a);
      },
      'a → a is one',
    ],
    [
      'with a cycle of many, of which some are named',
      (f) => {
        const tasks = Array.from({ length: 50 }, (_, at) => f.task(`t${at}`, 0));
        f.chain(...(tasks as [(typeof tasks)[0], (typeof tasks)[0]]), tasks[0]!);
      },
      /t0 → t1 → .* → … → t0 is one$/,
    ],
    [
      'with labels used twice',
      (f) => {
        const c = f.task('c', 0);
        f.chain(f.task('a', 0), c);
        f.chain(f.task('b', 0), c);
      },
      'c has parents under "previous" already',
    ],
    [
      'with a step twice in a group that comes after something',
      (f) => {
        const b = f.task('b', 0);
        f.chain(f.task('a', 0), f.group([b, b]));
      },
      'b is twice in one',
    ],
    [
      'with groups that hold each other many times over',
      (f) => {
        let [one, other] = [f.group([f.task('a', 0)]), f.group([f.task('b', 0)])];
        for (let depth = 0; depth < 60; depth++)
          [one, other] = [f.group([one, other]), f.group([other, one])];
        f.chain(f.task('c', 0), one, f.task('d', 0));
      },
      'is twice in one',
    ],
    [
      'with a label that is no name',
      (f) => f.task('a', 0, { after: { 'two words': [] } }),
      'A label name must be',
    ],
    [
      'with too many labels',
      (f) => {
        const after = Object.fromEntries(Array.from({ length: 101 }, (_, at) => [`l${at}`, []]));
        f.task('a', 0, { after });
      },
      'one of at most 100 labels',
    ],
    [
      'with a parent that is none',
      (f) => f.task('a', 0, { after: { x: 7 as never } }),
      'options.after.x must be a step',
    ],
    [
      'with an id that is none',
      (f) => f.task('a', 0, { after: { x: ['no id'] } }),
      'options.after.x[0] must be a step',
    ],
    [
      'with a hole among its parents',
      (f) => f.task('a', 0, { after: { x: new Array(1) } }),
      'options.after.x[0] must be a step',
    ],
    [
      'with parents that are null',
      (f) => f.task('a', 0, { after: { x: null as never } }),
      'options.after.x must be a step',
    ],
    ['with a group of no steps', (f) => f.group([f.task('a', 0), 'a' as never]), 'steps[1] must be a step'],
    ['with a group that is no list', (f) => f.group(5 as unknown as []), 'steps must be an array of steps'],
    [
      'with a chain of one step',
      (f) => f.chain(...([f.task('a', 0)] as never[] as [never, never])),
      'two steps or more',
    ],
    ['with a bad name', (f) => f.task('two words', 0), 'A task name must be'],
    [
      'with a misspelt option',
      (f) => f.task('a', 0, { whenParentDie: 'run' } as never),
      'did you mean "whenParentDies"',
    ],
    [
      'with moved buffers',
      (f) => f.task('a', 0, { transfer: [] } as never),
      'options.transfer must be absent',
    ],
    [
      'with tasks kept on their own',
      (f) => f.task('a', 0, { retentionMs: {} } as never),
      'options.retentionMs must be given for the flow',
    ],
  ] as [string, Build, string][];

  for (const [what, build, message] of REFUSED) {
    it(what, () => {
      const refusal = refusalOf(build);
      expect(refusal.code).toMatch(/^ERR_MILLRACE_(INVALID_ARGUMENT|INVALID_NAME|UNKNOWN_OPTION)$/);
      if (typeof message === 'string') expect(refusal.message).toContain(message);
      else expect(refusal.message).toMatch(message);
    });
  }

  it('with a step of another flow', () => {
    let stray: unknown;
    planFlow((f) => {
      stray = f.task('a', 0);
    });
    expect(refusalOf((f: Parameters<Build>[0]) => f.group([stray as FlowTask])).message).toContain(
      'not of another one',
    );
    const after = { x: stray as FlowTask };
    expect(refusalOf((f: Parameters<Build>[0]) => f.task('b', 0, { after })).message).toContain(
      'not of another one',
    );
  });

  it('to grow when its function has returned', () => {
    let late: Parameters<Build>[0] | undefined;
    planFlow((f) => {
      late = f;
      f.task('a', 0);
    });
    expect(() => late!.task('b', 0)).toThrow('f.task must be called before the builder function returns');
  });

  it('with the error that its function throws', () => {
    const error = new RangeError('mine');
    expect(() =>
      planFlow(() => {
        throw error;
      }),
    ).toThrow(error);
  });

  it('a group is not taken for a promise: who awaits one is told', async () => {
    let group: unknown;
    planFlow((f) => {
      group = f.group([f.task('a', 0)]);
    });
    await expect(Promise.resolve(group)).rejects.toMatchObject({ code: 'ERR_MILLRACE_INVALID_ARGUMENT' });
  });
});
