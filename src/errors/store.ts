/** Errors of the store and its folder. */
import { MillraceError, show } from './base.js';

/**
 * The store takes no more tasks now: too many wait for their flush, or a high-water mark is reached. Try
 * later.
 */
export class QueueFullError extends MillraceError {
  readonly code = 'ERR_MILLRACE_QUEUE_FULL';
  /** What is full, in words. */
  readonly what: string;
  /** How much of it there would be. */
  readonly pending: number;
  readonly limit: number;
  /** Whose limit it is, when that is one queue's; `undefined` for all tasks together. */
  readonly queue: string | undefined;

  constructor(what: string, pending: number, limit: number, queue?: string) {
    super(
      `${what}${queue === undefined ? '' : ` in queue ${show(queue)}`}: ` +
        `${pending} of at most ${limit}; enqueue again when some are done`,
    );
    this.what = what;
    this.pending = pending;
    this.limit = limit;
    this.queue = queue;
  }
}

/** The store or its disk has no room for more tasks; it empties as tasks are settled and pruned. */
export class StoreFullError extends MillraceError {
  readonly code = 'ERR_MILLRACE_STORE_FULL';
  readonly path: string;
  readonly limit: 'maxBytes' | 'minFreeBytes';
  /** What the store would use, or what would stay free. */
  readonly bytes: number;
  /** The most of it, or the least, at which tasks are taken. */
  readonly bound: number;

  constructor(path: string, limit: 'maxBytes' | 'minFreeBytes', bytes: number, bound: number) {
    super(
      limit === 'maxBytes'
        ? `The store at ${path} would use ${bytes} bytes; new tasks are taken up to ` +
            `${Math.floor(bound)} (maxBytes less 10 %)`
        : `The disk of ${path} would have ${bytes} bytes free; ${bound} must stay free (minFreeBytes)`,
    );
    this.path = path;
    this.limit = limit;
    this.bytes = bytes;
    this.bound = bound;
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
      `${path} is owned by process ${owner.pid} on ${owner.host} ` +
        `since ${new Date(owner.since).toISOString()}; ` +
        "stop that process, or open with ifLocked: 'wait' or 'join'",
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
      `The store at ${path} has format ${format}; ` +
        `this version of Millrace reads up to ${supported}: upgrade it`,
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

/** What came over a socket or pipe is no message of this version: damaged, too large, or of somebody else. */
export class ProtocolError extends MillraceError {
  readonly code = 'ERR_MILLRACE_PROTOCOL';

  constructor(what: string, options?: ErrorOptions) {
    super(`The other process sent ${what}`, options);
  }
}

/**
 * The owner of the folder went away before it answered. What was asked may have happened: an enqueue may have
 * been accepted.
 */
export class DisconnectedError extends MillraceError {
  readonly code = 'ERR_MILLRACE_DISCONNECTED';

  constructor(options?: ErrorOptions) {
    super('The owner of the tasks went away before it answered; what was asked may have happened', options);
  }
}

/** A stored fact is not of the version that was expected: somebody else has changed it. Read it again. */
export class FactChangedError extends MillraceError {
  readonly code = 'ERR_MILLRACE_FACT_CHANGED';
  readonly key: string;

  constructor(key: string, expected: number, actual: number) {
    super(`Fact ${show(key)} has version ${actual}, not ${expected}: somebody else has changed it`);
    this.key = key;
  }
}
