/** How the end of a task becomes known: before, after, by whom it was enqueued and by its id. */
import assert from 'node:assert/strict';
import { refuses, resultOf, textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

const UNKNOWN = 'o0o0o0o0o0o0o0o0o0o0o0o0o0';

export const resultThemes: readonly Theme[] = [
  {
    subject: 'a result',
    sentences: [
      it('comes to those who waited before it was there', async (probe) => {
        const [ticket] = await probe.tickets({ text: 'a' });
        const waits = [ticket!.settled(), ticket!.settled(), probe.broker.settled(ticket!.id)];
        const claims = await probe.take();
        waits.push(ticket!.settled(), probe.broker.settled(ticket!.id));
        await probe.complete(claims);
        for (const settled of await Promise.all(waits)) {
          assert.deepEqual(
            [settled.id, settled.state, resultOf(settled)],
            [ticket!.id, 'completed', 'result of a'],
          );
        }
      }),

      it('comes to those who ask afterwards', async (probe) => {
        const tickets = await probe.tickets({ text: 'a' }, { text: 'b' });
        await probe.complete(await probe.take());
        for (const [at, ticket] of tickets.entries()) {
          assert.equal(resultOf(await ticket.settled()), `result of ${'ab'[at]}`);
          assert.equal(resultOf(await probe.broker.settled(ticket.id)), `result of ${'ab'[at]}`);
        }
      }),

      it('comes to those who ask while it is being flushed', async (probe) => {
        const [ticket] = await probe.tickets({ text: 'a' });
        const flushed = probe.complete(await probe.take());
        const [byTicket, byId] = [ticket!.settled(), probe.broker.settled(ticket!.id)];
        assert.equal(resultOf(await byTicket), 'result of a');
        assert.equal(resultOf(await byId), 'result of a');
        await flushed;
      }),

      it('of every task is its own', async (probe) => {
        const tickets = await probe.tickets(...texts('a', 600).map((text) => ({ text })));
        const early = tickets.filter((_, at) => at % 3 === 0).map((ticket) => ticket.settled());
        const claims = await probe.take();
        await probe.complete(claims.filter((_, at) => at % 2 === 0));
        await probe.complete(claims.filter((_, at) => at % 2 === 1));
        await Promise.all(early);
        for (const [at, ticket] of tickets.entries()) {
          assert.equal(resultOf(await ticket.settled()), `result of a ${at}`);
          assert.equal(resultOf(await probe.broker.settled(ticket.id)), `result of a ${at}`);
        }
      }),

      it('may be empty or large', async (probe) => {
        const sizes = [0, 5_000, 1, 200_000, 0, 4_096];
        const tickets = await probe.tickets(...sizes.map((_, at) => ({ text: `${at}` })));
        const waits = tickets.filter((_, at) => at % 2 === 0).map((ticket) => ticket.settled());
        const claims = await probe.take();
        await probe.broker.settle(
          claims.map((claim, at) => ({
            ...probe.completed(claim),
            result: new Uint8Array(sizes[at]!).fill(at + 1),
          })) as never,
        );
        await Promise.all(waits);
        for (const [at, ticket] of tickets.entries()) {
          for (const { result } of [await ticket.settled(), await probe.broker.settled(ticket.id)]) {
            assert.equal(result?.length, sizes[at]);
            assert.ok(result!.every((byte) => byte === at + 1));
          }
        }
      }),

      it('of a retried task comes to those who waited from the beginning', async (probe) => {
        const [ticket] = await probe.tickets({ text: 'a' });
        const waits = [ticket!.settled(), probe.broker.settled(ticket!.id)];
        await probe.retry(await probe.take(), 10);
        waits.push(ticket!.settled());
        await probe.pass(10);
        waits.push(ticket!.settled(), probe.broker.settled(ticket!.id));
        const claims = await probe.take();
        waits.push(ticket!.settled());
        await probe.complete(claims, { result: 'at last' });
        waits.push(ticket!.settled());
        for (const settled of await Promise.all(waits)) assert.equal(resultOf(settled), 'at last');
      }),

      it('of a delayed task comes to those who waited', async (probe) => {
        const [ticket] = await probe.tickets({ text: 'a', runAt: probe.now + 10 });
        const waits = [ticket!.settled(), probe.broker.settled(ticket!.id)];
        await probe.pass(10);
        await probe.complete(await probe.take());
        for (const settled of await Promise.all(waits)) assert.equal(resultOf(settled), 'result of a');
      }),

      it('of a dead task is its reason and its last error', async (probe) => {
        const [ticket] = await probe.tickets({ text: 'a' });
        const wait = ticket!.settled();
        await probe.bury(await probe.take());
        for (const settled of [await wait, await ticket!.settled(), await probe.broker.settled(ticket!.id)]) {
          assert.deepEqual(
            [settled.state, settled.reason, settled.error?.message],
            ['dead', 'failed', 'no a'],
          );
          assert.equal(settled.result, undefined);
        }
      }),

      it('of a cancelled task is its reason', async (probe) => {
        const [ticket] = await probe.tickets({ text: 'a' });
        const wait = ticket!.settled();
        await probe.cancel(ticket!.id);
        for (const settled of [await wait, await ticket!.settled()]) {
          assert.deepEqual([settled.state, settled.reason], ['cancelled', 'cancelled']);
        }
      }),

      it('of a task that never was is another error than one that has expired', async (probe) => {
        const [id] = await probe.enqueue({ text: 'a' });
        await probe.complete(await probe.take(), { keepMs: 1_000 });
        await probe.prune(3_000);
        await refuses('RESULT_EXPIRED', () => probe.broker.settled(id!));
        for (const unknown of [UNKNOWN, '', 'nonsense', `${id}0`]) {
          await refuses('UNKNOWN_TASK', () => probe.broker.settled(unknown));
        }
      }),

      it('that nobody can bring any more ends the wait', async (probe) => {
        const [ticket, other] = await probe.tickets({ text: 'a' }, { runAt: probe.now + 1_000 });
        const waits = [ticket!.settled(), probe.broker.settled(ticket!.id), other!.settled()];
        const ends = waits.map((wait) => refuses('STOPPED', () => wait));
        await probe.close();
        await Promise.all(ends);
        await refuses('STOPPED', () => ticket!.settled());
        await refuses('STOPPED', () => probe.broker.settled(ticket!.id));
      }),

      it(
        'is there after a restart, of whatever kind it is',
        async (probe) => {
          const ids = await probe.enqueue(...texts('a', 300).map((text) => ({ text })));
          const claims = await probe.take();
          await probe.complete(claims.slice(0, 200));
          await probe.bury(claims.slice(200, 250));
          await probe.reopen();
          for (const [at, id] of ids.slice(0, 250).entries()) {
            const settled = await probe.broker.settled(id);
            if (at < 200) assert.equal(resultOf(settled), `result of a ${at}`);
            else assert.deepEqual([settled.state, settled.error?.message], ['dead', `no a ${at}`]);
          }
          const wait = probe.broker.settled(ids[299]!);
          const rest = await probe.take();
          assert.deepEqual(rest.map(textOf), texts('a', 300).slice(250));
          await probe.complete(rest);
          assert.equal(resultOf(await wait), 'result of a 299');
        },
        { has: ['durable'] },
      ),
    ],
  },
];
