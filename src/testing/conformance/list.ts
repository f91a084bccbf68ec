/** Lists of tasks, by state, queue and name, in pages of any size. */
import assert from 'node:assert/strict';
import type { TaskFilter } from '../../broker/inspect.js';
import type { TaskView } from '../../task/task.js';
import { type Probe, refuses, textOf, texts } from './probe.js';
import { it, type Theme } from './suite.js';

const HAS = { has: ['inspect'] } as const;

/** All pages of a list, none of them too long. */
async function listAll(probe: Probe, filter: TaskFilter, limit: number): Promise<TaskView[]> {
  const tasks: TaskView[] = [];
  let after: string | undefined;
  for (let pages = 0; pages < 10_000; pages++) {
    const page = await probe.inspect.list(filter, limit, after);
    assert.ok(page.tasks.length <= limit, `${page.tasks.length} tasks on a page of ${limit}`);
    tasks.push(...page.tasks);
    after = page.after;
    if (after === undefined) return tasks;
  }
  return assert.fail('a list has no end');
}

/**
 * Some of everything: 4 scheduled, 40 ready, 3 running, 30 completed fast and 2 late, 5 dead, 3 cancelled.
 */
async function fill(probe: Probe): Promise<void> {
  const ids = await probe.enqueue(
    ...texts('a', 83).map((text, at) => ({ text, name: at % 2 ? 'odd' : 'even' })),
  );
  const claims = await probe.take(43);
  await probe.complete(claims.slice(0, 30));
  await probe.retry(claims.slice(30, 32), 0);
  await probe.pass(0);
  for (const id of ids.slice(80)) await probe.cancel(id);
  await probe.enqueue(...texts('b', 5).map((text) => ({ text, queue: 'other' })));
  const late = (await probe.take(50)).filter((claim) => claim.attempt === 2 || claim.queue === 'other');
  await probe.complete(late.filter((claim) => claim.attempt === 2));
  await probe.bury(late.filter((claim) => claim.queue === 'other'));
}

export const listThemes: readonly Theme[] = [
  {
    subject: 'list',
    sentences: [
      it(
        'finds by state, in pages of any size, each task once',
        async (probe) => {
          await fill(probe);
          await probe.enqueue(...texts('c', 4).map((text, at) => ({ text, runAt: probe.now + 9 - at })));
          const counts = {
            scheduled: 4,
            ready: 0,
            running: 48,
            completed: 32,
            dead: 5,
            cancelled: 3,
            blocked: 0,
          };
          for (const [state, count] of Object.entries(counts) as [TaskView['state'], number][]) {
            for (const limit of [1, 3, 7, 1_000]) {
              const tasks = await listAll(probe, { state }, limit);
              assert.equal(tasks.length, count, `${state} in pages of ${limit}`);
              assert.equal(new Set(tasks.map(({ id }) => id)).size, count);
              assert.ok(tasks.every((task) => task.state === state));
            }
          }
          const all = await listAll(probe, {}, 10);
          assert.equal(all.length, 92);
          assert.equal(new Set(all.map(({ id }) => id)).size, 92);
        },
        HAS,
      ),

      it(
        'finds by queue and by name',
        async (probe) => {
          await fill(probe);
          const found = async (filter: TaskFilter) => (await listAll(probe, filter, 4)).length;
          assert.equal(await found({ queue: 'other' }), 5);
          assert.equal(await found({ queue: 'other', state: 'dead' }), 5);
          assert.equal(await found({ queue: 'other', state: 'completed' }), 0);
          assert.equal(await found({ name: 'even' }), 42);
          assert.equal(await found({ name: 'odd', state: 'completed' }), 16);
          assert.equal(await found({ name: 'odd', queue: 'default', state: 'cancelled' }), 1);
          assert.equal(await found({ queue: 'never' }), 0);
          assert.equal(await found({ name: 'never' }), 0);
        },
        HAS,
      ),

      it(
        'shows ready tasks in the order in which they will start',
        async (probe) => {
          for (const [at, level] of [3, 9, 0, 9, 3].entries()) await probe.enqueue({ level, text: `${at}` });
          const { tasks } = await probe.inspect.list({ state: 'ready' }, 10);
          assert.deepEqual(tasks.map(textOf), ['1', '3', '0', '4', '2']);
        },
        HAS,
      ),

      it(
        'shows scheduled tasks by due time',
        async (probe) => {
          for (const delay of [30, 10, 20])
            await probe.enqueue({ text: `${delay}`, runAt: probe.now + delay });
          const { tasks } = await probe.inspect.list({ state: 'scheduled' }, 10);
          assert.deepEqual(tasks.map(textOf), ['10', '20', '30']);
        },
        HAS,
      ),

      it(
        'shows the same task as get',
        async (probe) => {
          await fill(probe);
          for (const task of await listAll(probe, {}, 10)) assert.deepEqual(await probe.view(task.id), task);
        },
        HAS,
      ),

      it(
        'is bounded, and refuses what is no page',
        async (probe) => {
          for (const limit of [0, -1, 1_001, 1.5, Number.NaN]) {
            await refuses('INVALID_ARGUMENT', () => probe.inspect.list({}, limit));
          }
          await refuses('INVALID_ARGUMENT', () => probe.inspect.list({}, 10, 'no page'));
        },
        HAS,
      ),

      it(
        'goes on while tasks come and go',
        async (probe) => {
          const ids = await probe.enqueue(...texts('a', 60).map((text) => ({ text })));
          const first = await probe.inspect.list({ state: 'ready' }, 20);
          await probe.complete(await probe.take(30));
          await probe.enqueue({ text: 'new' });
          const rest: TaskView[] = [];
          for (let after = first.after; after !== undefined; ) {
            const page = await probe.inspect.list({ state: 'ready' }, 20, after);
            rest.push(...page.tasks);
            after = page.after;
          }
          assert.deepEqual(
            first.tasks.map(({ id }) => id),
            ids.slice(0, 20),
          );
          assert.deepEqual(rest.map(textOf), [...texts('a', 60).slice(30), 'new']);
        },
        HAS,
      ),
    ],
  },
];
