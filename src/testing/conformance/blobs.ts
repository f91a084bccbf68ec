/** Large payloads and results: whole wherever they are asked for, kept as long as their tasks. */
import assert from 'node:assert/strict';
import type { Claim, Settled } from '../../broker/broker.js';
import { isBlobRef } from '../../task/blob-ref.js';
import { encodeValue } from '../../task/codec.js';
import type { Probe } from './probe.js';
import { it, type Theme } from './suite.js';

/** Around the size from which they may be kept apart, and around that of a file. */
const SIZES = [16_000, 16_384, 50_000, 1_048_575, 1_048_576, 3_000_000];

export const blobThemes: readonly Theme[] = [
  {
    subject: 'a large payload',
    sentences: [
      it('comes to its claim as it was, in the order in which tasks were enqueued', async (probe) => {
        const bodies = SIZES.map((size, at) => large(size, at));
        await enqueue(probe, bodies);
        const claims = await probe.take();
        assert.equal(claims.length, SIZES.length);
        for (const [at, claim] of claims.entries()) assertSame(await bodyOf(probe, claim), bodies[at]);
      }),

      it('is the same at each attempt, and after a redrive', async (probe) => {
        const body = large(100_000, 1);
        const [id] = await enqueue(probe, [body]);
        await probe.broker.settle([probe.scheduled(await probe.takeOne(), 10)]);
        await probe.pass(10);
        const second = await probe.takeOne();
        assertSame(await bodyOf(probe, second), body);
        await probe.bury([second]);
        await probe.broker.redrive(id!);
        await probe.broker.settle([]);
        assertSame(await bodyOf(probe, await probe.takeOne()), body);
      }),

      it(
        'is shown whole while its task waits, runs, is scheduled and is dead',
        async (probe) => {
          const body = large(70_000, 2);
          const [id] = await enqueue(probe, [body]);
          const isShown = async (): Promise<void> => {
            assertSame((await probe.view(id!)).body, body);
            const { tasks } = await probe.inspect.list({}, 10);
            assertSame(tasks[0]?.body, body);
          };
          await isShown();
          const claim = await probe.takeOne();
          await isShown();
          await probe.broker.settle([probe.scheduled(claim, 10)]);
          await isShown();
          await probe.pass(10);
          await probe.bury([await probe.takeOne()]);
          await isShown();
        },
        { has: ['inspect'] },
      ),

      it(
        'is not read for a brief view',
        async (probe) => {
          const [id] = await enqueue(probe, [large(70_000, 2)]);
          assert.equal((await probe.inspect.get(id!, 'brief'))?.body, undefined);
          const { tasks } = await probe.inspect.list({}, 10, undefined, 'brief');
          assert.deepEqual(
            tasks.map((task) => [task.id, task.body]),
            [[id, undefined]],
          );
        },
        { has: ['inspect'] },
      ),

      it(
        'survives restarts and sudden deaths',
        async (probe) => {
          const bodies = SIZES.map((size, at) => large(size, at));
          await enqueue(probe, bodies);
          await probe.reopen();
          await probe.crash();
          const claims = await probe.take();
          assert.equal(claims.length, SIZES.length);
          for (const [at, claim] of claims.entries()) assertSame(await bodyOf(probe, claim), bodies[at]);
        },
        { has: ['durable'], crash: true },
      ),

      it(
        'of a task that a unique key led to another is let go',
        async (probe) => {
          const unique = { key: 'k', onConflict: 'keep' } as const;
          const [first] = await enqueue(probe, [large(20_000, 1)], { unique });
          const [again] = await enqueue(probe, [large(20_000, 2)], { unique });
          assert.equal(again, first);
          assertSame(await bodyOf(probe, await probe.takeOne()), large(20_000, 1));
        },
        { has: ['unique'] },
      ),
    ],
  },
  {
    subject: 'a large result',
    sentences: [
      it('comes whole to those who wait and to those who ask later', async (probe) => {
        const bodies = SIZES.map((size, at) => large(size, at));
        const tickets = await probe.tickets(...bodies.map(() => ({})), { text: 'noted' });
        const waits = tickets.map((ticket) => ticket.settled());
        const claims = await probe.take();
        const results = [...bodies, large(90_000, 9)];
        const settlements = await Promise.all(
          claims.map(async (claim, at) => ({
            ...probe.completed(claim, at === SIZES.length ? { progress: 1 } : {}),
            result: await apart(probe, results[at]!),
          })),
        );
        await probe.broker.settle(settlements as never);
        for (const [at, ticket] of tickets.entries()) {
          assertResult(await waits[at]!, results[at]);
          assertResult(await ticket.settled(), results[at]);
          assertResult(await probe.broker.settled(ticket.id), results[at]);
        }
        if (probe.broker.lacks.durable !== undefined) return;
        await probe.reopen();
        for (const [at, { id }] of tickets.entries())
          assertResult(await probe.broker.settled(id), results[at]);
      }),

      it(
        'is listed whole, and gone when it was deleted',
        async (probe) => {
          const [id] = await probe.enqueue({ text: 'a' });
          const result = large(200_000, 4);
          const claim = await probe.takeOne();
          await probe.broker.settle([
            { ...probe.completed(claim), result: await apart(probe, result) } as never,
          ]);
          assertSame((await probe.view(id!)).result, result);
          assertSame((await probe.inspect.list({ state: 'completed' }, 10)).tasks[0]?.result, result);
          await probe.broker.delete(id!);
          assert.equal(await probe.inspect.get(id!), undefined);
        },
        { has: ['inspect'] },
      ),
    ],
  },
];

/** Encoded bytes of about this size, different for each `seed`. */
function large(size: number, seed: number): Uint8Array {
  const value = new Uint8Array(size - 1);
  for (let at = 0; at < value.length; at++) value[at] = (at * 7 + seed * 13 + (at >>> 8)) & 255;
  return encodeValue(value, { maxBytes: 1e9, maxBufferBytes: 1e9 }).slice();
}

/** As whoever enqueues does it: kept apart where the backend does that. */
async function apart({ backend: { blobs } }: Probe, bytes: Uint8Array): Promise<Uint8Array> {
  return blobs === undefined || bytes.length < blobs.leastBytes ? bytes : blobs.write(bytes);
}

async function enqueue(probe: Probe, bodies: readonly Uint8Array[], fields: object = {}): Promise<string[]> {
  const tasks = [];
  for (const body of bodies) tasks.push({ ...probe.draft(fields), body: await apart(probe, body) });
  const { tickets, accepted } = probe.broker.enqueue(tasks);
  await accepted;
  return tickets.map(({ id }) => id);
}

/** What a thread makes of it. */
async function bodyOf({ backend: { blobs } }: Probe, { body }: Claim): Promise<Uint8Array> {
  return blobs === undefined || !isBlobRef(body) ? body : blobs.read(body);
}

function assertSame(actual: Uint8Array | undefined, expected: Uint8Array | undefined): void {
  assert.ok(actual !== undefined && expected !== undefined, 'there are bytes');
  assert.equal(actual.length, expected.length);
  assert.equal(Buffer.compare(actual, expected), 0, 'the bytes are the same');
}

function assertResult({ state, result }: Settled, expected: Uint8Array | undefined): void {
  assert.equal(state, 'completed');
  assertSame(result, expected);
}
