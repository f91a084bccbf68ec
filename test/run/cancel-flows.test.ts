/** What becomes of flows when tasks are cancelled by a filter. */
import { afterEach, describe, expect, it } from 'vitest';
import { openTestRuntime, type TestRuntime } from '#src/testing/index.js';
import * as tasks from '../../dist/test/fixtures/flow-tasks.js';

/** More than one page of what is listed. */
const MANY = 600;

let runtime: TestRuntime<typeof tasks> | undefined;
afterEach(() => runtime?.stop());

describe('cancel by a filter', () => {
  it('cancels children that match with their parents, in flows of any size', async () => {
    runtime = await openTestRuntime({ tasks });
    const flow = await runtime.flow((f) => {
      const group = (): ReturnType<typeof f.group> =>
        f.group(Array.from({ length: MANY }, (_, at) => f.task('echo', at)));
      f.chain(group(), group(), f.task('echo', 'a'), f.task('echo', 'b'));
    });
    expect(await runtime.cancel({ name: 'echo' })).toBe(2 * MANY + 2);
    expect(await flow.settled()).toMatchObject({ state: 'cancelled', cancelled: 2 * MANY + 2, dead: 0 });
  });

  it('leaves a child that does not match to what it says of itself', async () => {
    runtime = await openTestRuntime({ tasks });
    const flow = await runtime.flow((f) => {
      const parent = f.task('echo', 1);
      f.task('gather', { labels: ['x'] }, { after: { x: parent } });
    });
    expect(await runtime.cancel({ name: 'echo' })).toBe(1);
    expect(await flow.settled()).toMatchObject({ state: 'dead', cancelled: 1, dead: 1 });
  });
});
