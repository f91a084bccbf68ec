/**
 * How an attempt's error is kept: as plain data of bounded size, made in the worker from anything that can be
 * thrown and turned into an `Error` again for whoever awaits the task. Classes are not restored, only their
 * names.
 *
 * What is thrown may be hostile or half broken: its getters, Proxy traps and `toString` may throw, its causes
 * may form a circle. Every read of it is guarded, and each is made once.
 */

import { decodeValue, encodeValue } from './codec.js';

/** An error as plain data; the codec can encode it whatever was thrown. */
export interface StoredError {
  /** Name of the class, or `NonError` for a primitive or a plain object. */
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string | number;
  /** Other own enumerable properties, as far as they are small plain data. */
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly cause?: StoredError;
  /** Of an `AggregateError`. */
  readonly errors?: readonly StoredError[];
}

type Draft = { -readonly [K in keyof StoredError]: StoredError[K] };

const DEFAULT_MAX_BYTES = 16_384;
/** Less than this holds nothing useful: a smaller limit is raised to it, a smaller rest is left empty. */
const LEAST_BYTES = 512;
/** Tags and key names of one error. */
const FRAME_BYTES = 100;
const NAME_MAX_BYTES = 100;
const CODE_MAX_BYTES = 100;
const CAUSES_MAX = 5;
const ERRORS_MAX = 16;
const FIELDS_MAX = 64;
const FIELD_DEPTH_MAX = 8;
const MARK = '… (cut)';
const MARK_BYTES = Buffer.byteLength(MARK);

/** For measuring what is bounded already. */
const NO_LIMITS = { maxBytes: Number.MAX_SAFE_INTEGER, maxBufferBytes: Number.MAX_SAFE_INTEGER };

const NON_ERROR = 'NonError';
/** A class that sets no name of its own inherits one of these. */
const BUILT_IN_NAMES = new Set([
  'Error',
  'AggregateError',
  'EvalError',
  'RangeError',
  'ReferenceError',
  'SyntaxError',
  'TypeError',
  'URIError',
]);

/**
 * The error as plain data. Never throws.
 *
 * Message, stack and fields may each take a quarter of the room; causes (at most 5 deep) and errors (at most
 * 16) share what is left. Too long texts end in `… (cut)`; fields that do not fit or are not plain data are
 * left out.
 * @param maxBytes  Encoded size, at least 512.
 */
export function storeError(thrown: unknown, maxBytes: number = DEFAULT_MAX_BYTES): StoredError {
  return guarded(() => store(thrown, Math.max(LEAST_BYTES, maxBytes), new Set())) ?? unreadable();
}

/**
 * An `Error`, or `AggregateError`, that looks like the stored one: name, message, stack, code, fields, cause,
 * errors. A field never replaces something that errors have anyway, such as `toString`.
 */
export function reviveError(stored: StoredError): Error {
  const { name, message, stack, code, cause, errors, fields } = stored;
  const options = cause === undefined ? undefined : { cause: reviveError(cause) };
  const error =
    errors === undefined
      ? new Error(message, options)
      : new AggregateError(
          errors.map((inner) => reviveError(inner)),
          message,
          options,
        );
  if (error.name !== name) define(error, 'name', name, false);
  define(error, 'stack', stack ?? `${name}: ${message}`, false);
  if (code !== undefined) define(error, 'code', code, true);
  for (const [key, value] of Object.entries(fields ?? {})) {
    if (!(key in error) && key !== 'prototype') define(error, key, value, true);
  }
  return error;
}

function store(thrown: unknown, maxBytes: number, ancestors: Set<object>): StoredError {
  if ((typeof thrown !== 'object' && typeof thrown !== 'function') || thrown === null) {
    return { name: NON_ERROR, message: cut(String(thrown), maxBytes - FRAME_BYTES) };
  }
  const quarter = Math.floor((maxBytes - FRAME_BYTES - NAME_MAX_BYTES - CODE_MAX_BYTES) / 4);
  const message = messageOf(thrown);
  const stored: Draft = { name: cut(nameOf(thrown), NAME_MAX_BYTES), message: cut(message, quarter) };
  const stack = read(thrown, 'stack');
  if (typeof stack === 'string') stored.stack = cutStack(stack, message, quarter);
  const code = read(thrown, 'code');
  if (typeof code === 'number') stored.code = code;
  else if (typeof code === 'string') stored.code = cut(code, CODE_MAX_BYTES);

  const inner = innerErrors(thrown);
  const fields = storeFields(thrown, quarter, (key) => isField(key, stored, inner !== undefined));
  if (fields !== undefined) stored.fields = fields;
  if (ancestors.size < CAUSES_MAX) {
    ancestors.add(thrown);
    storeInner(stored, ownCause(thrown), inner, maxBytes, ancestors);
    ancestors.delete(thrown);
  }
  return stored;
}

/**
 * Adds cause and errors in the room that `stored` has left: the cause may take half of it if there are errors
 * too.
 */
function storeInner(
  stored: Draft,
  cause: unknown,
  inner: InnerErrors | undefined,
  maxBytes: number,
  ancestors: Set<object>,
): void {
  let left = maxBytes - FRAME_BYTES - sizeOf(stored);
  if (cause !== undefined) {
    const storedCause = storeNested(cause, inner === undefined ? left : left / 2, ancestors);
    if (storedCause !== undefined) {
      stored.cause = storedCause;
      left -= sizeOf(storedCause);
    }
  }
  if (inner === undefined) return;
  const errors: StoredError[] = [];
  for (const [index, error] of inner.first.entries()) {
    const storedError = storeNested(error, left / (inner.first.length - index), ancestors);
    if (storedError === undefined) continue;
    errors.push(storedError);
    left -= sizeOf(storedError);
  }
  const missing = inner.count - errors.length;
  if (missing > 0) errors.push({ name: 'Error', message: `${MARK}: ${missing} more` });
  stored.errors = errors;
}

function storeNested(thrown: unknown, maxBytes: number, ancestors: Set<object>): StoredError | undefined {
  if (maxBytes < LEAST_BYTES || ancestors.has(thrown as object)) return undefined;
  return guarded(() => store(thrown, Math.floor(maxBytes), ancestors)) ?? unreadable();
}

function messageOf(thrown: object): string {
  const message = read(thrown, 'message');
  if (typeof message === 'string') return message;
  if (isError(thrown)) return '';
  return typeof thrown === 'function' ? 'a function was thrown' : 'an object that is not an Error was thrown';
}

/** The error's own idea of its name, unless that is a built-in one which its class only inherited. */
function nameOf(thrown: object): string {
  const own = read(thrown, 'name');
  const owner = read(thrown, 'constructor');
  const className = typeof owner === 'function' ? read(owner, 'name') : undefined;
  if (typeof thrown === 'object' && typeof own === 'string' && own !== '') {
    const isInherited = BUILT_IN_NAMES.has(own) && guarded(() => !Object.hasOwn(thrown, 'name')) === true;
    if (!isInherited || typeof className !== 'string' || className === '') return own;
  }
  if (isError(thrown)) return typeof className === 'string' && className !== '' ? className : 'Error';
  const isNamed =
    typeof thrown === 'object' && typeof className === 'string' && className !== '' && className !== 'Object';
  return isNamed ? className : NON_ERROR;
}

interface InnerErrors {
  readonly first: readonly unknown[];
  readonly count: number;
}

/** The list of an AggregateError, of any realm or library; other things named `errors` are fields. */
function innerErrors(thrown: object): InnerErrors | undefined {
  return guarded(() => {
    const errors = read(thrown, 'errors');
    if (!Array.isArray(errors)) return undefined;
    const first = errors.slice(0, ERRORS_MAX) as unknown[];
    if (!(thrown instanceof AggregateError) && !first.some((inner) => isError(inner))) return undefined;
    return { first, count: errors.length };
  });
}

function ownCause(thrown: object): unknown {
  return guarded(() => Object.hasOwn(thrown, 'cause')) === true ? read(thrown, 'cause') : undefined;
}

/** Each field goes through the codec, which tells its size, refuses what is not data, and makes a copy. */
function storeFields(
  thrown: object,
  maxBytes: number,
  isWanted: (key: string) => boolean,
): Record<string, unknown> | undefined {
  // The keys of these are positions, and there may be millions.
  if (ArrayBuffer.isView(thrown) || Array.isArray(thrown) || guarded(() => thrown instanceof String))
    return undefined;
  const fields: Record<string, unknown> = {};
  const keys = guarded(() => Object.keys(thrown)) ?? [];
  let left = maxBytes;
  for (const key of keys.slice(0, FIELDS_MAX).filter(isWanted)) {
    guarded(() => {
      const bytes = encodeValue({ [key]: read(thrown, key) }, { maxBytes: left, maxBufferBytes: left });
      const copy = decodeValue(bytes) as Record<string, unknown>;
      if (bytes.length > left || !isShallow(copy[key], FIELD_DEPTH_MAX)) return;
      fields[key] = copy[key];
      left -= bytes.length;
    });
  }
  return Object.keys(fields).length === 0 ? undefined : fields;
}

function isField(key: string, stored: Draft, hasErrors: boolean): boolean {
  if (key === 'stack' || key === 'cause' || key in Error.prototype) return false;
  return !(key === 'code' && stored.code !== undefined) && !(key === 'errors' && hasErrors);
}

/** Errors stand in errors, and in records: together they must stay within the depth of the codec. */
function isShallow(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return true;
  if (levels === 0) return false;
  const items = value instanceof Map ? [...value.keys(), ...value.values()] : undefined;
  return (items ?? (value instanceof Set ? [...value] : Object.values(value))).every((item) =>
    isShallow(item, levels - 1),
  );
}

/** A stack begins with the message once more, and a long one would leave no room for the frames. */
function cutStack(stack: string, message: string, maxBytes: number): string {
  const shortMessage = cut(message, maxBytes >> 2);
  return cut(shortMessage === message ? stack : stack.replace(message, () => shortMessage), maxBytes);
}

/** The beginning of a text that takes more than `maxBytes`, with a mark. */
function cut(text: string, maxBytes: number): string {
  if (text.length <= maxBytes && sizeOf(text) <= maxBytes + 5) return text;
  const bytes = Buffer.from(text.slice(0, maxBytes));
  let end = Math.max(0, maxBytes - MARK_BYTES);
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end) + MARK;
}

function sizeOf(plain: unknown): number {
  return encodeValue(plain, NO_LIMITS).length;
}

function isError(value: unknown): boolean {
  return guarded(() => value instanceof Error) === true;
}

function read(value: object, key: string): unknown {
  return guarded(() => (value as Record<string, unknown>)[key]);
}

/** What `look` returns, or undefined if the value it looks at throws. */
function guarded<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

function unreadable(): StoredError {
  return { name: NON_ERROR, message: 'a value that cannot be read was thrown' };
}

function define(error: Error, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(error, key, { value, enumerable, writable: true, configurable: true });
}
