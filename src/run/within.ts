/** Waiting with an end. */
import { WaitTimeoutError } from '../errors.js';

/** Waits no longer than `waitMs`, and not beyond an abort. Nothing is left behind when it ends. */
export function within<Value>(
  promise: Promise<Value>,
  what: string,
  waitMs: number,
  signal: AbortSignal | undefined,
): Promise<Value> {
  if (waitMs === Number.POSITIVE_INFINITY && signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal?.reason);
    const timer = Number.isFinite(waitMs)
      ? setTimeout(() => reject(new WaitTimeoutError(what, waitMs)), waitMs)
      : undefined;
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    });
  });
}
