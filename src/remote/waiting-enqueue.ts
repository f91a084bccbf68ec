/** Enqueues that may wait for room at the owner, until their signal ends the wait. */
import { DisconnectedError } from '../errors.js';
import type { EncodedTask } from '../run/front.js';
import type { OpenCall } from './calls.js';
import { receivedError } from './forms.js';
import type { Placed } from './protocol.js';

/** One task, as a call of its own. @throws (rejects) as {@link untilAborted} */
export async function enqueueWaiting(
  call: OpenCall,
  task: EncodedTask,
  signal: AbortSignal | undefined,
): Promise<{ readonly id: string; readonly isNew: boolean }> {
  call.send('enqueue', { tasks: [{ ...task, options: { ...task.options, whenFull: 'wait' } }] });
  const [placed] = (await untilAborted(call, signal)) as readonly Placed[];
  if (!('error' in placed!)) return placed!;
  throw signal?.aborted === true ? signal.reason : receivedError(placed.error);
}

/**
 * The answer to an enqueue that has been sent. An abort asks the owner to end the wait; it may have let the
 * tasks in by then, so it has the last word.
 * @throws (rejects) the reason of the signal when it has ended the wait; nothing is enqueued then.
 */
export async function untilAborted(call: OpenCall, signal: AbortSignal | undefined): Promise<unknown> {
  if (signal === undefined) return call.answer;
  const hurry = (): void => call.hurry();
  if (signal.aborted) hurry();
  signal.addEventListener('abort', hurry, { once: true });
  try {
    return await call.answer;
  } catch (error) {
    // An owner that has gone may have let them in.
    throw signal.aborted && !(error instanceof DisconnectedError) ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', hurry);
  }
}
