/** Sheds, and checks what may go: the lowest levels first, and of each line its end. */
import assert from 'node:assert/strict';
import type { Broker } from '#src/broker/broker.js';
import { isHeadOf, type Model, type ModelTask } from './model.js';

/** @returns those that were cancelled, in the model as well. */
export function shedOf(
  model: Model,
  broker: Broker,
  below: number,
  most: number,
  keepMs: number,
): ModelTask[] {
  assert.equal(broker.waiting(), model.waiting());
  const { now } = model;
  const before = model.ready().filter(({ level }) => level < below);
  const shed = broker.shed({ below, most, least: 1, now, keepMs: () => keepMs });
  const went = shed.map(({ id }) => before.find((task) => task.id === id)!);
  const lowest = before.map(({ level }) => level).reverse();
  assert.deepEqual(
    went.map(({ level }) => level),
    lowest.slice(0, most),
  );
  for (const task of went) {
    const isBehind = (other: ModelTask): boolean => isHeadOf(other, task) && other.order > task.order;
    assert.ok(
      before.filter(isBehind).every((other) => went.includes(other)),
      'the newest of a line go first',
    );
  }
  for (const task of went) model.cancel(task, now + keepMs, 'shed');
  return went;
}
