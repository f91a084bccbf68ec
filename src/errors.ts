/**
 * Every error that Millrace throws, one class per reaction a caller can have.
 *
 * Match on `code`: semantic versioning covers the code and the fields, never the message. A message says what is
 * wrong and what would be right. Facts are fields, so that nobody parses a message. This file imports nothing.
 */

/** The common base: `error instanceof MillraceError` tells our errors from the handler's own. */
export abstract class MillraceError extends Error {
  /** Stable identifier, `ERR_MILLRACE_…`. */
  abstract readonly code: string;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** An argument or option has a value outside its bounds, or of the wrong type. */
export class InvalidArgumentError extends MillraceError {
  readonly code = 'ERR_MILLRACE_INVALID_ARGUMENT';
  /** Where it stands, for example `options.backoff.baseMs`. */
  readonly argument: string;

  constructor(argument: string, expected: string, actual?: unknown, options?: ErrorOptions) {
    super(`${argument} must be ${expected}${actual === undefined ? '' : `, not ${show(actual)}`}`, options);
    this.argument = argument;
  }
}

/** An option that does not exist; `nearest` names the one that was probably meant. */
export class UnknownOptionError extends MillraceError {
  readonly code = 'ERR_MILLRACE_UNKNOWN_OPTION';
  readonly option: string;
  readonly nearest: string | undefined;

  constructor(option: string, nearest: string | undefined, known: readonly string[]) {
    super(
      nearest === undefined
        ? `Unknown option ${show(option)}; known are ${known.join(', ')}`
        : `Unknown option ${show(option)}; did you mean ${show(nearest)}?`,
    );
    this.option = option;
    this.nearest = nearest;
  }
}

/** A task, queue, codec or schedule name is not 1 to 128 characters of `[A-Za-z0-9][\w.:-]*`. */
export class InvalidNameError extends MillraceError {
  readonly code = 'ERR_MILLRACE_INVALID_NAME';
  readonly value: unknown;

  constructor(kind: string, value: unknown) {
    super(
      `A ${kind} name must be 1 to 128 characters, begin with a letter or digit and hold only letters, digits, ` +
        `"_", ".", ":" and "-"; got ${show(value)}`,
    );
    this.value = value;
  }
}

/** A payload or result holds a value that cannot be stored; `path` leads to it, for example `user.tags[3]`. */
export class NotEncodableError extends MillraceError {
  readonly code = 'ERR_MILLRACE_NOT_ENCODABLE';
  readonly path: string;

  constructor(path: string, why: string, options?: ErrorOptions) {
    super(`Cannot encode ${path === '' ? 'the value' : path}: ${why}`, options);
    this.path = path;
  }
}

/** A payload does not fit the schema given on the host (`hooks.….validate`); nothing was stored. */
export class InvalidPayloadError extends MillraceError {
  readonly code = 'ERR_MILLRACE_INVALID_PAYLOAD';
  readonly taskName: string;
  /** One sentence per finding, with its path. */
  readonly issues: readonly string[];

  constructor(taskName: string, issues: readonly string[]) {
    super(`The payload of ${taskName} does not fit its schema: ${issues.join('; ')}`);
    this.taskName = taskName;
    this.issues = issues;
  }
}

/** Stored bytes could not be decoded: damaged, of an unknown codec, or beyond the bounds of the decoder. */
export class NotDecodableError extends MillraceError {
  readonly code = 'ERR_MILLRACE_NOT_DECODABLE';

  constructor(why: string, options?: ErrorOptions) {
    super(`Cannot decode: ${why}`, options);
  }
}

/** A payload or result is larger than its limit. */
export class TooLargeError extends MillraceError {
  readonly code = 'ERR_MILLRACE_TOO_LARGE';
  readonly bytes: number;
  readonly maxBytes: number;

  constructor(what: string, bytes: number, maxBytes: number) {
    super(`The ${what} has ${bytes} bytes; at most ${maxBytes} are allowed`);
    this.bytes = bytes;
    this.maxBytes = maxBytes;
  }
}

/** No codec of this name is registered in this process or worker. */
export class UnknownCodecError extends MillraceError {
  readonly code = 'ERR_MILLRACE_UNKNOWN_CODEC';
  readonly codec: string;

  constructor(codec: string) {
    super(`No codec named ${show(codec)} is registered`);
    this.codec = codec;
  }
}

/** The store takes no more tasks now: too many wait for their flush, or a high-water mark is reached. Try later. */
export class QueueFullError extends MillraceError {
  readonly code = 'ERR_MILLRACE_QUEUE_FULL';
  readonly pending: number;
  readonly limit: number;

  constructor(what: string, pending: number, limit: number) {
    super(`${what}: ${pending} of at most ${limit}; enqueue again when some are done`);
    this.pending = pending;
    this.limit = limit;
  }
}

/** A task with the same unique key exists and `onConflict` is `'reject'`. */
export class DuplicateTaskError extends MillraceError {
  readonly code = 'ERR_MILLRACE_DUPLICATE_TASK';
  /** Id of the task that holds the key. */
  readonly taskId: string;
  readonly key: string;

  constructor(key: string, taskId: string) {
    super(`Unique key ${show(key)} is held by task ${taskId}`);
    this.key = key;
    this.taskId = taskId;
  }
}

/** Another live process owns this folder. */
export class LockedError extends MillraceError {
  readonly code = 'ERR_MILLRACE_LOCKED';
  readonly pid: number;
  readonly host: string;
  /** When the owner took the folder, epoch milliseconds. */
  readonly since: number;

  constructor(path: string, owner: { readonly pid: number; readonly host: string; readonly since: number }) {
    super(
      `${path} is owned by process ${owner.pid} on ${owner.host} since ${new Date(owner.since).toISOString()}; ` +
        "stop that process, or open with ifLocked: 'wait'",
    );
    this.pid = owner.pid;
    this.host = owner.host;
    this.since = owner.since;
  }
}

/** The store cannot be opened here: no such folder, no permission, read-only, or the disk is full. */
export class StoreUnavailableError extends MillraceError {
  readonly code = 'ERR_MILLRACE_STORE_UNAVAILABLE';
  readonly path: string;

  constructor(path: string, why: string, options?: ErrorOptions) {
    super(`The store at ${path} cannot be used: ${why}`, options);
    this.path = path;
  }
}

/** The store's bytes are damaged: truncated, empty, overwritten, or a checksum does not match. */
export class StoreCorruptError extends MillraceError {
  readonly code = 'ERR_MILLRACE_STORE_CORRUPT';
  readonly path: string;

  constructor(path: string, why: string, options?: ErrorOptions) {
    super(`The store at ${path} is damaged: ${why}`, options);
    this.path = path;
  }
}

/** The folder holds something that Millrace did not write. */
export class StoreForeignError extends MillraceError {
  readonly code = 'ERR_MILLRACE_STORE_FOREIGN';
  readonly path: string;

  constructor(path: string, why: string) {
    super(`${path} is not a Millrace store: ${why}`);
    this.path = path;
  }
}

/** The store was written by a newer version of Millrace. */
export class StoreTooNewError extends MillraceError {
  readonly code = 'ERR_MILLRACE_STORE_TOO_NEW';
  readonly path: string;
  readonly format: number;
  readonly supported: number;

  constructor(path: string, format: number, supported: number) {
    super(
      `The store at ${path} has format ${format}; this version of Millrace reads up to ${supported}: upgrade it`,
    );
    this.path = path;
    this.format = format;
    this.supported = supported;
  }
}

/** The store reported a write error, or another owner has taken over; nothing more is accepted. */
export class StoreFencedError extends MillraceError {
  readonly code = 'ERR_MILLRACE_STORE_FENCED';

  constructor(why: string, options?: ErrorOptions) {
    super(`The store is fenced and accepts nothing: ${why}`, options);
  }
}

/** The module with the handlers is missing, throws on import, or exports no handler. */
export class TasksModuleError extends MillraceError {
  readonly code = 'ERR_MILLRACE_TASKS_MODULE';
  readonly url: string;

  constructor(url: string, why: string, options?: ErrorOptions) {
    super(`The tasks module ${url} cannot be used: ${why}`, options);
    this.url = url;
  }
}

/** The task ended dead. `cause` is the error of its last attempt, with its class name, code and own fields. */
export class TaskDeadError extends MillraceError {
  readonly code = 'ERR_MILLRACE_TASK_DEAD';
  readonly taskId: string;
  readonly reason: string;

  constructor(taskId: string, reason: string, options?: ErrorOptions) {
    super(`Task ${taskId} is dead (${reason})`, options);
    this.taskId = taskId;
    this.reason = reason;
  }
}

/** The task was cancelled. */
export class TaskCancelledError extends MillraceError {
  readonly code = 'ERR_MILLRACE_TASK_CANCELLED';
  readonly taskId: string;
  readonly reason: string;

  constructor(taskId: string, reason: string) {
    super(`Task ${taskId} was cancelled (${reason})`);
    this.taskId = taskId;
    this.reason = reason;
  }
}

/** No task with this id was ever accepted by this store. */
export class UnknownTaskError extends MillraceError {
  readonly code = 'ERR_MILLRACE_UNKNOWN_TASK';
  readonly taskId: string;

  constructor(taskId: string) {
    super(`No task ${show(taskId)} was ever accepted by this store`);
    this.taskId = taskId;
  }
}

/** The task was settled so long ago that its result has been pruned (`retentionMs`), or it was deleted. */
export class ResultExpiredError extends MillraceError {
  readonly code = 'ERR_MILLRACE_RESULT_EXPIRED';
  readonly taskId: string;

  constructor(taskId: string) {
    super(`Task ${taskId} is settled and its result is no longer kept (retentionMs)`);
    this.taskId = taskId;
  }
}

/** The wait for a result ended before the task did; the task goes on. */
export class WaitTimeoutError extends MillraceError {
  readonly code = 'ERR_MILLRACE_WAIT_TIMEOUT';
  readonly waitMs: number;

  constructor(what: string, waitMs: number) {
    super(`${what} did not end within ${waitMs} ms; it goes on`);
    this.waitMs = waitMs;
  }
}

/** The runtime, or the thread that was asked, is stopped. */
export class StoppedError extends MillraceError {
  readonly code = 'ERR_MILLRACE_STOPPED';

  constructor(what = 'The runtime') {
    super(`${what} is stopped`);
  }
}

/** The task is not in a state in which this can be done to it, for example a redrive of a running task. */
export class WrongStateError extends MillraceError {
  readonly code = 'ERR_MILLRACE_WRONG_STATE';
  readonly taskId: string;
  readonly state: string;

  constructor(taskId: string, state: string, action: string) {
    super(`Task ${taskId} is ${state}; it cannot be ${action}`);
    this.taskId = taskId;
    this.state = state;
  }
}

/** The backend cannot do this; the message is its own sentence why (`lacks`). */
export class UnsupportedError extends MillraceError {
  readonly code = 'ERR_MILLRACE_UNSUPPORTED';
  readonly feature: string;

  constructor(feature: string, why: string) {
    super(`This backend has no ${feature}: ${why}`);
    this.feature = feature;
  }
}

/** A value in a message: short, on one line, control characters escaped. */
function show(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  if (typeof value === 'function') return 'a function';
  return String(value);
}
