/** Errors of what a caller wrote: options, names, payloads, modules. */
import { MillraceError, show } from './base.js';

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
      `A ${kind} name must be 1 to 128 characters, begin with a letter or digit and hold only letters, ` +
        `digits, "_", ".", ":" and "-"; got ${show(value)}`,
    );
    this.value = value;
  }
}

/**
 * A payload or result holds a value that cannot be stored; `path` leads to it, for example `user.tags[3]`.
 */
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

/** The module with the handlers is missing, throws on import, or exports no handler. */
export class TasksModuleError extends MillraceError {
  readonly code = 'ERR_MILLRACE_TASKS_MODULE';
  readonly url: string;

  constructor(url: string, why: string, options?: ErrorOptions) {
    super(`The tasks module ${url} cannot be used: ${why}`, options);
    this.url = url;
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
