/** One scope as a gate: whose turn it is. */
import { expect, it } from 'vitest';
import { ManualClock } from '#src/clock.js';
import { Scope } from '#src/limit/scope.js';

const NEVER = async (): Promise<never> => {
  throw new Error('nothing is written here');
};
const limiter = { reserve: NEVER, giveBack: NEVER, forget: NEVER };

/** A gate at which a lane has started from this pass, and another one waits. */
function gate(pass: number): Scope {
  const host = { clock: new ManualClock(), put: NEVER, delete: NEVER, changed: () => {} };
  const scope = new Scope(host, limiter, 'task/x', { concurrency: 1 });
  const waiter = (id: string) => {
    return { id, queue: 'default', lane: id, pass, serial: 1, level: 5, cost: 1, weight: 1, hasLeft: false };
  };
  const first = waiter('first');
  scope.turns.add(first);
  scope.resume(first);
  scope.ended(scope.take('first', 1, 1), true);
  scope.turns.add(waiter('second'));
  return scope;
}

it('a start moves its lane on, and one that never began gives its place back', () => {
  // Some of these and a third less a third are a little less than they were.
  for (let at = 0; at < 100; at++) {
    const pass = at / 97;
    const scope = gate(pass);
    const unstarted = scope.take('a', 3, 1);
    expect(scope.passOf('a')).toBe(pass + 1 / 3);
    scope.ended(unstarted, false);
    expect(scope.passOf('a')).toBeCloseTo(pass, 12);
    scope.ended(scope.take('a', 3, 1), true);
    expect(scope.passOf('a')).toBe(pass + 1 / 3);
  }
});
