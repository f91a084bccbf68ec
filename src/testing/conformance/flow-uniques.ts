/** Unique keys in flows: whose key is taken stands for its holder, and who replaces one ends it. */
import assert from 'node:assert/strict';
import { added, run, sketch, states, takeAll } from './flow-probe.js';
import { it, type Needs, type Theme } from './suite.js';

const WITH_UNIQUE: Needs = { has: ['flows', 'inspect', 'unique'] };

export const flowUniqueThemes: readonly Theme[] = [
  {
    subject: 'a unique key in a flow',
    sentences: [
      it(
        'that replaces a task decides about those of the flow that wait for that one',
        async (probe) => {
          const unique = { key: 'k', onConflict: 'replace' } as const;
          const [id] = await probe.enqueue({ text: 'before', unique, runAt: probe.now + 10 });
          const flow = await sketch(probe, {
            fails: { after: [`=${id}`] },
            runs: { after: [`=${id}`], dies: 'run' },
            group: { of: [`=${id}`] },
            'behind it': { after: ['group'], dies: 'run' },
            after: { unique },
          });
          assert.deepEqual(await states(flow, 'fails', 'runs', 'behind it'), [
            'fails dead',
            'runs ready',
            'behind it ready',
          ]);
          await run(probe, ['runs', 'behind it', 'after']);
          assert.equal(await flow.progress(), 'dead 3 of 4, 1 dead');
        },
        WITH_UNIQUE,
      ),

      it(
        'that a member holds makes it the parent of what waits for the member that would add another one',
        async (probe) => {
          const unique = { key: 'k', onConflict: 'keep' } as const;
          const flow = await sketch(probe, {
            a: {},
            holder: { unique },
            last: {
              after: [
                ['one', 'a'],
                ['two', 'holder'],
              ],
            },
          });
          const claims = await takeAll(probe);
          await probe.complete([claims.get('a')!], { next: [probe.draft({ unique, inFlow: true })] });
          assert.deepEqual(await flow.parents('last', 'one'), ['result of a', 'running']);
          await probe.complete([claims.get('holder')!], { next: added(probe, 'more') });
          await run(probe, ['more']);
          const both = ['result of holder', 'result of more'];
          assert.deepEqual(await flow.parents('last', 'one'), ['result of a', ...both]);
          assert.deepEqual(await flow.parents('last', 'two'), both);
          await run(probe, ['last']);
        },
        WITH_UNIQUE,
      ),
    ],
  },
];
