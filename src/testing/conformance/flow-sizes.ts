/** Flows that take more than one commit to come in, to fan out, and to be cancelled or sent round. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import type { Claim } from '../../broker/broker.js';
import type { FlowIntake, FlowNode } from '../../broker/flows.js';
import { isBlobRef } from '../../task/blob-ref.js';
import { encodeValue } from '../../task/codec.js';
import type { TaskId } from '../../task/task.js';
import { added, flowsOf, run, type SketchedFlow, sketch, until } from './flow-probe.js';
import { type Probe, refuses } from './probe.js';
import { it, type Needs, type Theme } from './suite.js';

const FLOWS: Needs = { has: ['flows', 'inspect'] };
const DURABLE: Needs = { has: ['flows', 'inspect', 'durable'], crash: true };
/** Nodes and edges together are more than one commit takes. */
const MANY = 1_100;
/** More than are released with one settlement. */
const WIDE = 1_000;

function many(probe: Probe, count = MANY): FlowNode[] {
  return Array.from({ length: count }, () => ({ kind: 'task', task: probe.draft({ text: 'member' }) }));
}

/** A group of many, and a task behind it. */
async function begin(probe: Probe): Promise<FlowIntake> {
  const intake = flowsOf(probe).flow({ retentionMs: { completed: 1_000, dead: 1_000, cancelled: 1_000 } });
  await intake.add(many(probe));
  await intake.add([
    { kind: 'join', of: [{ first: 0, count: MANY }] },
    { kind: 'task', task: probe.draft({ text: 'last' }), after: [{ label: 'p', from: MANY }], key: 'last' },
  ]);
  return intake;
}

/** A task with many children, and one behind them all. */
function wide(probe: Probe): Promise<SketchedFlow> {
  const children = Array.from({ length: WIDE }, (_, at) => `child ${at}`);
  return sketch(probe, {
    top: {},
    ...Object.fromEntries(children.map((text) => [text, { after: ['top'] }])),
    all: { of: children },
    last: { after: ['all'] },
  });
}

async function completeAll(probe: Probe): Promise<number> {
  let count = 0;
  for (let claims: Claim[]; ; count += claims.length) {
    claims = await probe.take(500);
    if (claims.length === 0) return count;
    await probe.complete(claims);
    await setImmediate();
  }
}

export const flowSizeThemes: readonly Theme[] = [
  {
    subject: 'a large flow',
    sentences: [
      it(
        'is seen by nobody until it is accepted, but for the counts, and then it is there at once',
        async (probe) => {
          const intake = await begin(probe);
          const blocked = probe.counts().blocked ?? 0;
          assert.ok(blocked >= MANY, `${blocked} are blocked`);
          assert.deepEqual((await flowsOf(probe).list(10)).flows, []);
          assert.deepEqual((await probe.inspect.list({ state: 'blocked' }, 10)).tasks, []);
          assert.deepEqual(await probe.take(), []);
          const { id, nodes } = await intake.accept();
          assert.equal((await flowsOf(probe).get(id))?.total, MANY + 1);
          let done = 0;
          await until('all of the group has run', async () => {
            done += await completeAll(probe);
            return done === MANY + 1;
          });
          assert.equal((await flowsOf(probe).settled(id)).state, 'completed');
          const last: TaskId = nodes.ticket(MANY + 1).id;
          let seen = 0;
          for (let after: string | undefined; ; ) {
            const page = await flowsOf(probe).parents(last, 'p', 1_000, after);
            seen += page.parents.length;
            after = page.after;
            if (after === undefined) break;
          }
          assert.equal(seen, MANY);
          assert.throws(() => nodes.ticket(MANY), RangeError);
          await probe.prune(10_000);
          assert.deepEqual([probe.counts(), await flowsOf(probe).get(id)], [{}, undefined]);
        },
        FLOWS,
      ),

      it(
        'that is abandoned leaves nothing',
        async (probe) => {
          const intake = await begin(probe);
          await intake.abandon();
          assert.deepEqual(probe.counts(), {});
          await refuses('STOPPED', () => intake.accept());
        },
        FLOWS,
      ),

      it(
        'whose owner dies before it is accepted leaves nothing, and one that was accepted is whole',
        async (probe) => {
          await begin(probe);
          await probe.broker.settle([]);
          await probe.crash();
          await until('nothing of it is left', () => probe.counts().blocked === undefined);
          const { id } = await (await begin(probe)).accept();
          await until('some may start', async () => {
            const claims = await probe.take(1);
            await probe.bury(claims);
            return claims.length > 0;
          });
          await probe.crash();
          await until('all wait that can', () => probe.counts().ready === MANY - 1);
          await flowsOf(probe).redrive(id);
          await until('all wait again', async () => (await flowsOf(probe).get(id))?.dead === 0);
          assert.deepEqual(probe.counts(), { ready: MANY, blocked: 1 });
        },
        DURABLE,
      ),

      it(
        'takes no unique keys',
        async (probe) => {
          const intake = flowsOf(probe).flow({ retentionMs: { completed: 0, dead: 0, cancelled: 0 } });
          const unique = { key: 'k', onConflict: 'keep' } as const;
          await refuses('UNSUPPORTED', () =>
            intake.add([...many(probe, 2 * MANY), { kind: 'task', task: probe.draft({ unique }) }]),
          );
          await intake.abandon();
          assert.deepEqual(probe.counts(), {});
        },
        FLOWS,
      ),
    ],
  },
  {
    subject: 'a task with many children',
    sentences: [
      it(
        'lets them all go, also when its owner dies before the last of them',
        async (probe) => {
          const flow = await wide(probe);
          await probe.complete(await probe.take());
          const { blocked } = await flow.view();
          assert.ok(blocked > 1, `${blocked} are blocked still`);
          await probe.crash();
          await until('all are released', async () => (await flow.view()).blocked === 1);
          assert.equal(await completeAll(probe), WIDE + 1);
          assert.equal(await flow.progress(), `completed ${WIDE + 2} of ${WIDE + 2}`);
        },
        DURABLE,
      ),

      it(
        'takes them all with it when it dies, and they go round again with it',
        async (probe) => {
          const flow = await wide(probe);
          await probe.bury(await probe.take());
          await until('all are dead', async () => (await flow.view()).state === 'dead');
          assert.equal((await flow.view()).dead, WIDE + 2);
          await flowsOf(probe).redrive(flow.id);
          await until('all are back', async () => (await flow.view()).dead === 0);
          await run(probe, ['top']);
          await until('all are released', async () => (await flow.view()).blocked === 1);
          await flowsOf(probe).cancel(flow.id, 'enough');
          await until('all are cancelled', async () => (await flow.view()).state === 'cancelled');
          assert.equal(await flow.progress(), `cancelled 1 of ${WIDE + 2}, ${WIDE + 1} cancelled`);
        },
        FLOWS,
      ),

      it(
        'cannot add as many tasks as it likes',
        async (probe) => {
          const flow = await wide(probe);
          const texts = Array.from({ length: 101 }, (_, at) => `added ${at}`);
          const [top] = await probe.take();
          let reason: string | undefined;
          await probe.broker.settle(
            [probe.completed(top!, { next: added(probe, ...texts) })],
            (_given, ending) => {
              reason = ending.kind === 'dead' ? ending.reason : ending.kind;
            },
          );
          assert.equal(reason, 'flow-full');
          await until('all are dead', async () => (await flow.view()).state === 'dead');
          assert.equal(await flow.reason('top'), 'flow-full');
          assert.deepEqual(await probe.take(), []);
        },
        FLOWS,
      ),
    ],
  },
  {
    subject: 'large payloads and results in a flow',
    sentences: [
      it(
        'are kept as long as the flow',
        async (probe) => {
          const { blobs } = probe.backend;
          const body = encodeValue('x'.repeat(100_000)).slice();
          const apart = async (): Promise<Uint8Array> => (await blobs?.write(body)) ?? body;
          const whole = async (bytes: Uint8Array) => (isBlobRef(bytes) ? blobs!.read(bytes) : bytes);
          const task = async () => ({ ...probe.draft(), body: await apart() });
          const intake = flowsOf(probe).flow({ retentionMs: { completed: 1_000, dead: 0, cancelled: 0 } });
          await intake.add([
            { kind: 'task', task: await task() },
            { kind: 'task', task: await task(), after: [{ label: 'p', from: 0 }] },
          ]);
          const { nodes } = await intake.accept();
          const first = await probe.takeOne();
          assert.deepEqual(await whole(first.body), body);
          const settlement = { ...probe.completed(first), result: await apart() };
          await probe.broker.settle([settlement as Parameters<typeof probe.broker.settle>[0][number]]);
          await probe.prune(10_000);
          assert.deepEqual((await probe.view(nodes.ticket(0).id)).body, body);
          const second = await probe.takeOne();
          assert.deepEqual(await whole(second.body), body);
          const { parents } = await flowsOf(probe).parents(second.id, 'p', 1);
          assert.deepEqual(await whole(parents[0]!.result!), body);
          await probe.complete([second]);
          await probe.prune(10_000);
          assert.equal(await probe.state(second.id), undefined);
        },
        FLOWS,
      ),
    ],
  },
];
