/** A payload kept for later: what its caller does to it meanwhile must not show. */
import { NotEncodableError } from '../errors.js';
import type { EnqueueOptions } from '../options/types.js';
import type { DeskItem } from '../run/desk.js';
import { decodeValue, encodeValue } from '../task/codec.js';

const NO_LIMITS = { maxBytes: 2 ** 31, maxBufferBytes: 2 ** 31 };

export interface OwnCopy {
  readonly payload: unknown;
  readonly options?: EnqueueOptions;
}

/**
 * A copy of the payload. Buffers given with `transfer` are the caller's no more, and not an option any more.
 * What is no plain data stays as it is: a codec of its own may know what to do with it.
 */
export function ownCopy(payload: unknown, options: EnqueueOptions | undefined): OwnCopy {
  const copy = copyOf(payload);
  if (options?.transfer === undefined)
    return options === undefined ? { payload: copy } : { payload: copy, options };
  const { transfer, ...rest } = options;
  structuredClone(null, { transfer: [...transfer] });
  return { payload: copy, options: rest };
}

function copyOf(payload: unknown): unknown {
  try {
    return decodeValue(encodeValue(payload, NO_LIMITS).slice());
  } catch (error) {
    if (error instanceof NotEncodableError) return payload;
    throw error;
  }
}

/** Buffers can be moved once only, and the batch may be asked for again. */
export function withoutTransfers(batch: readonly DeskItem[]): readonly DeskItem[] {
  if (!Array.isArray(batch) || !batch.some((item) => item?.options?.transfer !== undefined)) return batch;
  return batch.map((item) =>
    item?.options?.transfer === undefined ? item : { ...item, ...ownCopy(item.payload, item.options) },
  );
}
