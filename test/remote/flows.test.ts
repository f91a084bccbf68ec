/** Flows of a client over a real socket: in parts, refused, dropped in the middle, and said wrongly. */
import { describe, expect, it } from 'vitest';
import { planFlow } from '#src/flow/flow.js';
import type { FlowPlan } from '#src/flow/types.js';
import { encodeValue } from '#src/task/codec.js';
import { rejection } from '../runtime/harness.js';
import { connect, countsOf, MOST_BYTES, type Rig, until } from './rig.js';

/** More than fit one commit. */
const TASKS = 21_500;

/** A group and what comes after it; `last` is the payload of the last task of the group. */
function planOf(count: number, last: unknown = 0): FlowPlan {
  return planFlow((f) => {
    const payload = (at: number): unknown => (at === count - 1 ? last : at);
    const group = f.group(Array.from({ length: count }, (_, at) => f.task('echo', payload(at))));
    return { group, end: group.then(f.task('echo', 'end')) };
  });
}

/** Nothing is left: no task is counted, and no flow listed. */
async function nothing(rig: Rig): Promise<void> {
  await until(() => countsOf(rig).blocked === undefined);
  expect(countsOf(rig)).toEqual({});
  expect(await rig.backend.flows!.list(10)).toEqual({ flows: [] });
}

describe('a flow of a client', () => {
  it('larger than one commit is accepted as a whole, and its receipt names its tasks', async () => {
    const rig = await connect();
    const { id, returned } = await rig.desk.flows.enqueue(planOf(TASKS), { name: 'large' });
    await until(() => countsOf(rig).ready === TASKS);
    expect(countsOf(rig)).toEqual({ ready: TASKS, blocked: 1 });
    expect(await rig.desk.flows.get(id)).toMatchObject({ name: 'large', total: TASKS + 1 });
    const group = returned.get('group') as readonly { id: string }[];
    const claims = await rig.backend.broker.claim(() => 'take', 1_000);
    expect(claims.map((claim) => claim.id)).toEqual(group.slice(0, 1_000).map((member) => member.id));
    expect(await rig.desk.state(group[TASKS - 1]!.id)).toBe('ready');
    const end = returned.get('end') as { id: string };
    expect(await rig.desk.state(end.id)).toBe('blocked');
  });

  it('waits behind what was enqueued before it in the same turn', async () => {
    const rig = await connect();
    const first = rig.desk.accept(rig.desk.encode('echo', 'before', undefined));
    const flow = rig.desk.flows.enqueue(planOf(1), {});
    const [{ id }] = await Promise.all([first, flow]);
    const [claim] = await rig.backend.broker.claim(() => 'take', 1);
    expect(claim!.id).toBe(id);
  });

  it('leaves nothing when its connection ends in the middle', async () => {
    const rig = await connect();
    const refused = rejection(rig.desk.flows.enqueue(planOf(30_000), {}));
    await until(() => (countsOf(rig).blocked ?? 0) > 0);
    rig.socket.destroy();
    expect(await refused).toMatchObject({ code: 'ERR_MILLRACE_DISCONNECTED' });
    await until(() => rig.visitor.destroyed);
    await nothing(rig);
  });

  it('leaves nothing when one of its tasks cannot be encoded, and the next one is accepted', async () => {
    const rig = await connect();
    const bad = planOf(TASKS, () => 'a function');
    expect(await rejection(rig.desk.flows.enqueue(bad, {}))).toMatchObject({
      code: 'ERR_MILLRACE_NOT_ENCODABLE',
    });
    await nothing(rig);
    await rig.desk.flows.enqueue(planOf(10), {});
    expect(countsOf(rig)).toEqual({ ready: 10, blocked: 1 });
  });

  it.each([2_500, TASKS])('of %i leaves nothing when the owner refuses one of its tasks', async (count) => {
    const rig = await connect();
    const bad = planOf(count, 'x'.repeat(2 * MOST_BYTES + 1));
    expect(await rejection(rig.desk.flows.enqueue(bad, {}))).toMatchObject({
      code: 'ERR_MILLRACE_TOO_LARGE',
    });
    await nothing(rig);
    await rig.desk.accept(rig.desk.encode('echo', 'here', undefined));
    expect(countsOf(rig)).toEqual({ ready: 1 });
  });

  it('in parts waits for its turn among others of its client', async () => {
    const rig = await connect();
    const count = 18;
    const plan = planOf(1_001);
    await Promise.all(Array.from({ length: count }, () => rig.desk.flows.enqueue(plan, {})));
    expect((await rig.backend.flows!.list(100)).flows.length).toBe(count);
  });

  it('is one of few that have begun', async () => {
    const rig = await connect();
    const part = { head: {}, nodes: [], more: true };
    const begun = Array.from({ length: 17 }, () => rejection(rig.say('flow', part)));
    expect(await Promise.race(begun)).toMatchObject({ code: 'ERR_MILLRACE_QUEUE_FULL', limit: 16 });
  });

  it('is one of fewer that go to the store in parts', async () => {
    const rig = await connect();
    const part = { head: {}, nodes: Array(1_000).fill({ kind: 'join', of: [] }), more: true };
    const parts = Array(Math.ceil(TASKS / 1_000)).fill(part);
    const begun = Array.from({ length: 5 }, () => rejection(rig.say('flow', ...parts)));
    expect(await Promise.race(begun)).toMatchObject({ code: 'ERR_MILLRACE_QUEUE_FULL', limit: 4 });
  });
});

describe('what a client says wrongly of a flow', () => {
  const task = { name: 'echo', body: encodeValue(1).slice() };
  const node = { kind: 'task', task, after: [], whenParentDies: 'fail' };
  const WRONG: readonly [what: string, args: object][] = [
    ['nodes that are no list', { nodes: 7 }],
    ['too many nodes in one message', { nodes: Array(1_001).fill(node) }],
    ['a node that is no object', { nodes: [null] }],
    ['a node of no kind', { nodes: [{ ...node, kind: 'group' }] }],
    ['a node without a task', { nodes: [{ ...node, task: undefined }] }],
    ['a task that is not encoded', { nodes: [{ ...node, task: { name: 'echo', body: 'text' } }] }],
    ['edges that are no list', { nodes: [{ ...node, after: 1 }] }],
    ['an edge without a label', { nodes: [node, { ...node, after: [{ from: 0 }] }] }],
    ['an edge from nowhere', { nodes: [{ ...node, after: [{ label: 'a', from: -1 }] }] }],
    ['an edge from itself', { nodes: [{ ...node, after: [{ label: 'a', from: 0 }] }] }],
    ['an edge from behind', { nodes: [{ ...node, after: [{ label: 'a', from: 1 }] }, node] }],
    ['another death', { nodes: [{ ...node, whenParentDies: 'toString' }] }],
    ['a key that is no text', { nodes: [{ ...node, key: 1 }] }],
    ['a join of what is no place', { nodes: [node, { kind: 'join', of: [{ first: 0 }] }] }],
    ['a join of what is behind', { nodes: [{ kind: 'join', of: [0] }, node] }],
    ['a head that is none', { head: 7, nodes: [node] }],
    ['an option of another thing', { head: { priority: 1 }, nodes: [node] }],
    ['places that are none', { nodes: [node], wanted: [0] }],
  ];

  it('is refused with what would be right, and leaves nothing', async () => {
    const rig = await connect();
    for (const [what, args] of WRONG) {
      const error = await rejection(rig.say('flow', { head: {}, ...args }));
      expect([what, error.code]).toEqual([
        what,
        expect.stringMatching(/^ERR_MILLRACE_(INVALID_ARGUMENT|UNKNOWN_OPTION)$/),
      ]);
    }
    await nothing(rig);
    await rig.say('flow', { head: {}, nodes: [node] });
    expect(countsOf(rig)).toEqual({ ready: 1 });
  });
});
