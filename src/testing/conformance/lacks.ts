/** What each kind of backend may lack. A lack that is not here is a fault of the adapter. */
import assert from 'node:assert/strict';
import type { Lack } from '../../broker/broker.js';
import { it, type Theme } from './suite.js';

/** By `broker.kind`. An adapter of another kind may lack what does not touch a task's life. */
export const ALLOWED_LACKS: Readonly<Record<string, readonly Lack[]>> = {
  memory: ['durable'],
  lmdb: ['transfer'],
  sqlite: ['transfer'],
  redis: ['transfer', 'peek', 'atomicBatch', 'durable'],
  postgres: ['transfer', 'peek'],
  amqp: ['transfer', 'peek', 'atomicBatch', 'inspect', 'unique', 'flows'],
  nats: ['transfer', 'peek', 'atomicBatch', 'inspect', 'fencing', 'durable', 'flows'],
};
const OTHER_KINDS: readonly Lack[] = ['transfer', 'peek', 'atomicBatch', 'inspect', 'flows'];

export const lacksThemes: readonly Theme[] = [
  {
    subject: 'what it lacks',
    sentences: [
      it('is allowed for its kind', async ({ broker }) => {
        const allowed = ALLOWED_LACKS[broker.kind] ?? OTHER_KINDS;
        const beyond = Object.keys(broker.lacks).filter((lack) => !allowed.includes(lack as Lack));
        assert.deepEqual(beyond, []);
      }),

      it('is said in a sentence', async ({ broker }) => {
        for (const [lack, why] of Object.entries(broker.lacks)) {
          assert.ok(why.includes(' ') && why.length > 20, `${lack}: ${why}`);
        }
      }),

      it('includes inspect exactly when there is none', async ({ backend }) => {
        assert.equal(backend.inspect === undefined, backend.broker.lacks.inspect !== undefined);
      }),

      it('includes flows exactly when there are none', async ({ backend }) => {
        assert.equal(backend.flows === undefined, backend.broker.lacks.flows !== undefined);
      }),
    ],
  },
];
