/** What a backend lists and tells of each task is what its model knows. */
import assert from 'node:assert/strict';
import type { Inspect } from '#src/broker/inspect.js';
import { laneKind } from '#src/task/lane.js';
import type { TaskView } from '#src/task/task.js';
import { payloadFor } from '../fixtures/kill-oracle.js';
import type { Model } from './model.js';

export async function verifyTasks(model: Model, inspect: Inspect): Promise<void> {
  const listed = new Map<string, TaskView>();
  for (let after: string | undefined, pages = 0; pages === 0 || after !== undefined; pages++) {
    const page = await inspect.list({}, 7, after);
    after = page.after;
    for (const task of page.tasks) {
      assert.ok(!listed.has(task.id), 'a task is listed once');
      listed.set(task.id, task);
    }
  }
  for (const task of model.tasks) {
    const view = await inspect.get(task.id);
    const isGone = task.state === 'deleted' || task.state === 'pruned';
    assert.equal(view?.state, isGone ? undefined : task.state, task.text);
    assert.deepEqual(listed.get(task.id), view, task.text);
    if (view === undefined) continue;
    assert.deepEqual([view.priority, view.queue, view.name], [task.level, task.queue, task.name]);
    const isWaiting = task.state === 'ready' || task.state === 'running';
    assert.equal(view.unhandled, isWaiting && laneKind(task.lane) === 'aside');
    assert.equal(view.failures, task.failures);
    if (view.body !== undefined) assert.ok(payloadFor(task.text).equals(view.body), task.text);
    if (view.result !== undefined) assert.ok(payloadFor(task.ending).equals(view.result), task.text);
  }
  assert.equal(
    listed.size,
    model.tasks.filter(({ state }) => state !== 'deleted' && state !== 'pruned').length,
  );
}
