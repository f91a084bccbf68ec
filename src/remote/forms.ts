/**
 * How values that are no plain data, or that may be too deep inside of a message, travel: errors with their
 * class, tasks and events with what handlers reported encoded on its own.
 */
import * as errors from '../errors.js';
import type { RuntimeEvent } from '../run/events.js';
import { decodeValue, encodeValue } from '../task/codec.js';
import { reviveError, type StoredError, storeError } from '../task/stored-error.js';
import type { TaskView } from '../task/task.js';

/** A task as it travels. */
export type SentView = Omit<TaskView, 'progress'> & { readonly progress?: Uint8Array };

/** What handlers report fits these by far: it was encoded before. */
const REPORT_LIMITS = { maxBytes: 2 ** 30, maxBufferBytes: 2 ** 30 };

export function sentView(view: TaskView): SentView {
  const { progress, ...rest } = view;
  return progress === undefined ? rest : { ...rest, progress: encodeReport(progress) };
}

export function receivedView(sent: SentView): TaskView {
  const { progress, ...rest } = sent;
  return progress === undefined ? rest : { ...rest, progress: decodeValue(progress) };
}

export function sentEvent(event: RuntimeEvent): unknown {
  if (event.kind === 'fenced') return { ...event, error: storeError(event.error) };
  if (event.kind === 'progress') return { ...event, progress: encodeReport(event.progress) };
  return event;
}

export function receivedEvent(sent: unknown): RuntimeEvent {
  const event = sent as RuntimeEvent;
  if (event.kind === 'fenced')
    return { ...event, error: receivedError(event.error as unknown as StoredError) };
  if (event.kind === 'progress') return { ...event, progress: decodeValue(event.progress as Uint8Array) };
  return event;
}

/** An error of the class that its code names, so that `instanceof` holds here as it does at the owner. */
export function receivedError(stored: StoredError): Error {
  const error = reviveError(stored);
  const code = String(stored.code);
  return Object.hasOwn(ERROR_CLASSES, code)
    ? Object.setPrototypeOf(error, ERROR_CLASSES[code]!.prototype)
    : error;
}

/** The class of each code. A test knows when one is missing. */
export const ERROR_CLASSES: Readonly<Record<string, { readonly prototype: object }>> = {
  ERR_MILLRACE_INVALID_ARGUMENT: errors.InvalidArgumentError,
  ERR_MILLRACE_UNKNOWN_OPTION: errors.UnknownOptionError,
  ERR_MILLRACE_INVALID_NAME: errors.InvalidNameError,
  ERR_MILLRACE_NOT_ENCODABLE: errors.NotEncodableError,
  ERR_MILLRACE_INVALID_PAYLOAD: errors.InvalidPayloadError,
  ERR_MILLRACE_NOT_DECODABLE: errors.NotDecodableError,
  ERR_MILLRACE_TOO_LARGE: errors.TooLargeError,
  ERR_MILLRACE_UNKNOWN_CODEC: errors.UnknownCodecError,
  ERR_MILLRACE_TASKS_MODULE: errors.TasksModuleError,
  ERR_MILLRACE_UNSUPPORTED: errors.UnsupportedError,
  ERR_MILLRACE_QUEUE_FULL: errors.QueueFullError,
  ERR_MILLRACE_STORE_FULL: errors.StoreFullError,
  ERR_MILLRACE_LOCKED: errors.LockedError,
  ERR_MILLRACE_STORE_UNAVAILABLE: errors.StoreUnavailableError,
  ERR_MILLRACE_STORE_CORRUPT: errors.StoreCorruptError,
  ERR_MILLRACE_STORE_FOREIGN: errors.StoreForeignError,
  ERR_MILLRACE_STORE_TOO_NEW: errors.StoreTooNewError,
  ERR_MILLRACE_STORE_FENCED: errors.StoreFencedError,
  ERR_MILLRACE_FACT_CHANGED: errors.FactChangedError,
  ERR_MILLRACE_PROTOCOL: errors.ProtocolError,
  ERR_MILLRACE_DISCONNECTED: errors.DisconnectedError,
  ERR_MILLRACE_DUPLICATE_TASK: errors.DuplicateTaskError,
  ERR_MILLRACE_TASK_DEAD: errors.TaskDeadError,
  ERR_MILLRACE_TASK_CANCELLED: errors.TaskCancelledError,
  ERR_MILLRACE_UNKNOWN_TASK: errors.UnknownTaskError,
  ERR_MILLRACE_UNKNOWN_SCHEDULE: errors.UnknownScheduleError,
  ERR_MILLRACE_RESULT_EXPIRED: errors.ResultExpiredError,
  ERR_MILLRACE_WAIT_TIMEOUT: errors.WaitTimeoutError,
  ERR_MILLRACE_STOPPED: errors.StoppedError,
  ERR_MILLRACE_WRONG_STATE: errors.WrongStateError,
  ERR_MILLRACE_UNKNOWN_FLOW: errors.UnknownFlowError,
  ERR_MILLRACE_FLOW_EXPIRED: errors.FlowExpiredError,
  ERR_MILLRACE_WRONG_FLOW_STATE: errors.WrongFlowStateError,
};

function encodeReport(value: unknown): Uint8Array {
  return encodeValue(value, REPORT_LIMITS).slice();
}
