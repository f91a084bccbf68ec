/**
 * Runs the items of one batch, one after the other, and writes how each ended into its page. Nothing that a
 * handler does or returns may throw out of here.
 *
 * A handler that returns no thenable is not awaited, and an item's start is the end of the one before it: a
 * batch of small synchronous tasks costs a swap, a decode, a call, an encode and one look at the clock each.
 */
import { MillraceError } from '../src/errors.js';
import { encodeValue } from '../src/task/codec.js';
import type { SchemaIssue } from '../src/task/define-types.js';
import { storeError } from '../src/task/stored-error.js';
import { AttemptRun, type RunningBatch } from './attempt.js';
import { HandlerContext } from './context.js';
import type { LoadedHandler } from './handlers.js';
import { FLAG, KIND, type Page, SEEN_SHIFT, STATE } from './page.js';
import { type BatchMessage, ROW_HEADER_BYTES } from './protocol.js';
import type { Session } from './session.js';

/** A batch as it arrived, with the table of names of its time. */
export interface IncomingBatch {
  readonly message: BatchMessage;
  readonly page: Page;
  readonly names: readonly string[];
}

/** Resolves when every item has ended or was recalled. */
export async function runBatch(session: Session, { message, page, names }: IncomingBatch): Promise<void> {
  const { rows, count, moved, fires } = message;
  const batch: RunningBatch = { session, page, rows, fires };
  const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
  const { ints, floats } = page;
  let at = 0;
  let clock = session.now();
  for (let index = 0; index < count; index++) {
    const row = at;
    at += ROW_HEADER_BYTES + view.getUint32(row, true);
    floats[index] = clock;
    if (Atomics.compareExchange(ints, index, STATE.handed, STATE.started) !== STATE.handed) continue;
    const name = names[view.getUint16(row + 4, true)]!;
    const handler = session.handlers.find(name) ?? UNKNOWN;
    const run = new AttemptRun(batch, index, handler, name, view.getUint16(row + 6, true), row + 8);
    try {
      const payload = moved === undefined ? decode(rows, row, at, session) : moved.value;
      let returned = call(handler, payload, run);
      if (isThenable(returned)) returned = await returned;
      clock = complete(run, returned);
    } catch (error) {
      clock = fail(run, error);
    }
  }
}

/** A payload that does not decode, or that the schema refuses. */
class InvalidPayload extends Error {}

function decode(rows: Uint8Array, row: number, end: number, session: Session): unknown {
  try {
    return session.decode(rows.subarray(row + ROW_HEADER_BYTES, end));
  } catch (error) {
    // What the system says, for example that too many files are open, may be another the next time.
    throw error instanceof MillraceError ? new InvalidPayload('', { cause: error }) : error;
  }
}

function call(handler: LoadedHandler, payload: unknown, run: AttemptRun): unknown {
  const context = new HandlerContext(run);
  if (handler.schema !== undefined) return checkAndCall(handler, payload, context);
  return handler.handler(payload, context);
}

async function checkAndCall(
  handler: LoadedHandler,
  payload: unknown,
  context: HandlerContext,
): Promise<unknown> {
  const checked = await handler.schema!['~standard'].validate(payload);
  if (checked.issues !== undefined)
    throw new InvalidPayload('', { cause: schemaError(handler, checked.issues) });
  return handler.handler(checked.value, context);
}

/** At most ten issues are kept, with their paths. */
function schemaError(handler: LoadedHandler, issues: readonly SchemaIssue[]): Error {
  const kept = issues.slice(0, 10).map(({ message, path = [] }) => ({
    message: String(message),
    path: path.map((step) => String(typeof step === 'object' ? step.key : step)).join('.'),
  }));
  const first = kept[0];
  const where = first === undefined || first.path === '' ? '' : ` at ${first.path}`;
  const error = new Error(
    `The payload does not fit the schema of "${handler.name}"${where}: ${first?.message}`,
  );
  error.name = 'InvalidPayloadError';
  return Object.assign(error, { code: 'ERR_MILLRACE_INVALID_PAYLOAD', issues: kept });
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}

function complete(run: AttemptRun, result: unknown): number {
  const { batch, index, handler } = run;
  const { page, session } = batch;
  if (run.snoozeMs >= 0) {
    page.floats[page.delayMs + index] = run.snoozeMs;
    return end(run, KIND.snoozed, undefined);
  }
  const codec = session.codecOf(handler);
  const bytes = encodeValue(result, session.limits, codec, 'result');
  const { blobs } = session;
  if (blobs !== undefined && bytes.length >= blobs.leastBytes) {
    const reference = blobs.write(bytes);
    if (reference !== undefined) {
      const endedAt = end(run, KIND.completed, reference);
      blobs.tell();
      return endedAt;
    }
  }
  // Raw bytes were framed into memory of their own; everything else is in a buffer that the next value uses.
  return end(run, KIND.completed, bytes, codec === undefined && result instanceof Uint8Array);
}

function fail(run: AttemptRun, thrown: unknown): number {
  const invalid = thrown instanceof InvalidPayload;
  const error = invalid ? thrown.cause : thrown;
  let kind: number = KIND.failed;
  if (invalid) kind |= FLAG.invalidPayload | FLAG.notRetryable;
  else if (isNotRetryable(error)) kind |= FLAG.notRetryable;
  return end(run, kind, encodeValue(storeError(error)));
}

/** Codes of our own errors that come from what the handler returned: it would return the same again. */
const POINTLESS: ReadonlySet<string> = new Set([
  'ERR_MILLRACE_NOT_ENCODABLE',
  'ERR_MILLRACE_TOO_LARGE',
  'ERR_MILLRACE_UNKNOWN_CODEC',
]);

function isNotRetryable(error: unknown): boolean {
  try {
    if (typeof error !== 'object' || error === null) return false;
    if (error instanceof MillraceError) return POINTLESS.has(error.code);
    return Object.hasOwn(error, 'retryable') && (error as { retryable?: unknown }).retryable === false;
  } catch {
    return false;
  }
}

/** Stands in for a handler that no module has: it went with a deployment, or was never registered here. */
const UNKNOWN: LoadedHandler = {
  name: '*',
  pattern: true,
  options: {},
  module: { url: '', handlers: [], codecs: [], app: undefined },
  handler(_payload, context) {
    const { name } = context as HandlerContext;
    throw Object.assign(new Error(`No handler is named "${name}"`), { code: 'ERR_MILLRACE_NO_HANDLER' });
  },
};

/**
 * Writes the outcome; the state goes last, since it tells the host that the rest is there.
 * @param isOwn  `bytes` are nobody else's and may be moved away.
 * @returns  When it ended.
 */
function end(run: AttemptRun, kind: number, bytes: Uint8Array | undefined, isOwn = false): number {
  const { batch, index } = run;
  const { page } = batch;
  const { ints } = page;
  if (bytes !== undefined) {
    const length = bytes.length;
    if (page.cursor + length <= page.bytes.length) {
      page.bytes.set(bytes, page.cursor);
      ints[page.offset + index] = page.cursor;
      ints[page.length + index] = length;
      page.cursor += length;
    } else {
      const own = isOwn ? bytes : bytes.slice();
      run.post({ kind: 'result', bytes: own }, [own.buffer as ArrayBuffer]);
      kind |= FLAG.posted;
    }
  }
  // Only now: the last notes are encoded in the buffer that `bytes` may be a view of.
  run.close();
  const endedAt = batch.session.now();
  page.floats[page.endedAt + index] = endedAt;
  ints[page.kind + index] = kind | (run.noted ? FLAG.noted : 0) | (run.abortCode << SEEN_SHIFT);
  Atomics.store(ints, index, STATE.finished);
  return endedAt;
}
