/** `run` where the tasks are elsewhere: an enqueue, then the wait for its end. */
import type { Settled } from '../broker/broker.js';
import type { RunOptions } from '../options/types.js';
import { validateRunOptions } from '../options.js';
import type { Desk } from '../run/desk.js';
import { within } from '../run/within.js';
import type { TaskId } from '../task/task.js';

/** As `Desk.run`. */
export async function runThrough<Value>(
  desk: Pick<Desk, 'enqueue' | 'settled' | 'cancel'>,
  name: string,
  payload: unknown,
  options: RunOptions | undefined,
  take: (settled: Settled) => Value,
): Promise<Value> {
  if (options === undefined) {
    const { id } = await desk.enqueue(name, payload, undefined);
    return take(await desk.settled(id));
  }
  const { signal, waitMs, ...own } = validateRunOptions(options, 'options');
  signal?.throwIfAborted();
  let id: TaskId | undefined;
  const cancel = (): void => {
    if (id !== undefined) desk.cancel(id).catch(() => {});
  };
  const enqueued = desk.enqueue(name, payload, signal === undefined ? own : { ...own, signal });
  const settled = enqueued.then((receipt) => {
    id = receipt.id;
    if (signal?.aborted === true) cancel();
    return desk.settled(id);
  });
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    return take(await within(settled, `Task ${name}`, waitMs, signal));
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}
