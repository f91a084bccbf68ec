/** One scope as a gate: whose turn it is. */
import { expect, it } from 'vitest';
import { ManualClock } from '#src/clock.js';
import { Scope } from '#src/limit/scope.js';

const NEVER = async (): Promise<never> => {
  throw new Error('nothing is written here');
};
const limiter = { reserve: NEVER, giveBack: NEVER, forget: NEVER };

/** A gate at which a lane `b` waits. */
function gate(): Scope {
  const host = { clock: new ManualClock(), put: NEVER, delete: NEVER, changed: () => {} };
  const scope = new Scope(host, limiter, 'task/x', { concurrency: 2 });
  const place = { pass: scope.passOf('b'), serial: 1, level: 5, cost: 1, weight: 1, hasLeft: false };
  scope.turns.add({ id: 'b', queue: 'default', lane: 'b', ...place });
  return scope;
}

it('a start moves its lane on, and one that never began gives its place back', () => {
  const scope = gate();
  const before = scope.passOf('a');
  const unstarted = scope.take('a', 2, 1);
  expect(scope.passOf('a')).toBe(before + 1 / 2);
  scope.ended(unstarted, false);
  expect(scope.passOf('a')).toBe(before);
  scope.ended(scope.take('a', 2, 1), true);
  expect(scope.passOf('a')).toBe(before + 1 / 2);
});
