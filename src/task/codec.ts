/**
 * How payloads and results become bytes, and bytes become values again. The first byte says how to read the
 * rest:
 *
 * ```
 * 0 bytes                      raw: a Uint8Array passed as it is
 * 1 bytes                      plain: the format of `codec-plain.ts`
 * 2 u8 name bytes              codec: length of its name, name in ASCII, what the codec made
 * 3 …                          is none of these: a reference to bytes in a file (`blob-ref.ts`)
 * ```
 *
 * Pure: no I/O, no clock, no registry. Which codecs exist is the caller's business.
 */

import {
  InvalidNameError,
  MillraceError,
  NotDecodableError,
  NotEncodableError,
  TooLargeError,
  UnknownCodecError,
} from '../errors.js';
import type { EncodeLimits } from './codec-buffer.js';
import { jsonCodec } from './codec-json.js';
import { PlainReader } from './codec-reader.js';
import { PlainWriter } from './codec-writer.js';

export type { EncodeLimits } from './codec-buffer.js';
export { jsonCodec } from './codec-json.js';

/** Another format, for example one that encrypts. It is stored by name, so the name must stay registered. */
export interface Codec {
  /** 1 to 128 characters, as every name. */
  readonly name: string;
  /** Bytes of the value; they are copied before the next value is encoded. */
  encode(value: unknown): Uint8Array;
  /** The value again. The bytes are a copy of its own and may come from damaged storage. */
  decode(bytes: Uint8Array): unknown;
}

/** The built-in codec and others, by the names they are stored under. */
export function codecsByName(others: readonly Codec[]): ReadonlyMap<string, Codec> {
  return new Map([jsonCodec, ...others].map((codec) => [codec.name, codec]));
}

/** 1 MiB of plain data, 64 MiB of binary. */
export const DEFAULT_ENCODE_LIMITS: EncodeLimits = { maxBytes: 1_048_576, maxBufferBytes: 67_108_864 };

const RAW = 0;
const PLAIN = 1;
const NAMED = 2;
const UNZEROED_BYTES = 16_384;
const NAME = /^[A-Za-z0-9][\w.:-]{0,127}$/;

const sharedWriter = new PlainWriter();

/**
 * Bytes of a payload or result.
 *
 * A `codec`, if there is one, sees every value, a `Uint8Array` too: one that encrypts must not be passed by.
 * Without one, a `Uint8Array` goes raw and everything else in the plain format.
 * @param limits  What a codec makes counts against `maxBytes`, a raw payload against `maxBufferBytes`.
 * @param what  Named in the message of a `TooLargeError`.
 * @returns  A view of memory that the next call uses again: copy it. Only where a `Uint8Array` goes without a
 *   codec the bytes are nobody else's.
 * @throws {NotEncodableError} `ERR_MILLRACE_NOT_ENCODABLE` with the path to what cannot be stored.
 * @throws {TooLargeError} `ERR_MILLRACE_TOO_LARGE`
 * @throws {InvalidNameError} `ERR_MILLRACE_INVALID_NAME` when the codec's name is not one.
 */
export function encodeValue(
  value: unknown,
  limits: EncodeLimits = DEFAULT_ENCODE_LIMITS,
  codec?: Codec,
  what: 'payload' | 'result' = 'payload',
): Uint8Array {
  if (codec !== undefined) return encodeNamed(value, limits, codec, what);
  if (value instanceof Uint8Array && ArrayBuffer.isView(value)) return encodeRaw(value, limits, what);
  const writer = sharedWriter.busy ? new PlainWriter() : sharedWriter;
  return writer.write(PLAIN, value, limits, what);
}

/**
 * The value of bytes that `encodeValue` made. Safe on any other bytes: it throws or returns plain data.
 * @param codecs  By name. `jsonCodec` is known without being in it.
 * @throws {NotDecodableError} `ERR_MILLRACE_NOT_DECODABLE`
 * @throws {UnknownCodecError} `ERR_MILLRACE_UNKNOWN_CODEC`
 */
export function decodeValue(bytes: Uint8Array, codecs?: ReadonlyMap<string, Codec>): unknown {
  return decode(bytes[0], bytes, 1, codecs, copyOf);
}

/**
 * As {@link decodeValue}, of bytes that are nobody else's and came apart from their first one: where that
 * says that they are raw, they are the value, without a copy.
 */
export function decodeOwn(
  kind: number | undefined,
  rest: Uint8Array,
  codecs?: ReadonlyMap<string, Codec>,
): unknown {
  return decode(kind, rest, 0, codecs, () => rest);
}

function decode(
  kind: number | undefined,
  bytes: Uint8Array,
  from: number,
  codecs: ReadonlyMap<string, Codec> | undefined,
  raw: (bytes: Uint8Array, from: number) => unknown,
): unknown {
  try {
    if (kind === PLAIN) return new PlainReader(bytes, from).read();
    if (kind === RAW) return raw(bytes, from);
    if (kind === NAMED) return decodeNamed(bytes, from, codecs);
    throw new NotDecodableError(
      kind === undefined ? 'there are no bytes' : `${kind} is not a form of encoding`,
    );
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw new NotDecodableError('reading the bytes threw an error', { cause: error });
  }
}

/** Whether bytes from elsewhere begin like those that `encodeValue` makes. */
export function isEncoded(bytes: Uint8Array): boolean {
  return bytes[0] === PLAIN || bytes[0] === RAW || bytes[0] === NAMED;
}

function encodeRaw(value: Uint8Array, limits: EncodeLimits, what: string): Uint8Array {
  // A detached buffer looks empty, but this throws for it: what was transferred must not arrive as nothing.
  const bytes = attempt(() => new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  if (bytes.length > limits.maxBufferBytes)
    throw new TooLargeError(what, bytes.length, limits.maxBufferBytes);
  return framed([RAW], bytes);
}

function encodeNamed(value: unknown, limits: EncodeLimits, codec: Codec, what: string): Uint8Array {
  const { name } = codec;
  if (typeof name !== 'string' || !NAME.test(name)) throw new InvalidNameError('codec', name);
  const bytes = attempt(() => codec.encode(value));
  if (!(bytes instanceof Uint8Array))
    throw new NotEncodableError('', `codec "${name}" did not return a Uint8Array`);
  if (bytes.length > limits.maxBytes) throw new TooLargeError(what, bytes.length, limits.maxBytes);
  return framed([NAMED, name.length, ...Buffer.from(name, 'latin1')], bytes);
}

function decodeNamed(
  bytes: Uint8Array,
  from: number,
  codecs: ReadonlyMap<string, Codec> | undefined,
): unknown {
  const start = from + 1;
  const end = start + (bytes[from] ?? 0);
  if (end === start || end > bytes.length) throw new NotDecodableError('the name of its codec is cut off');
  const name = Buffer.from(bytes.subarray(start, end)).toString('latin1');
  const codec = codecs?.get(name) ?? (name === jsonCodec.name ? jsonCodec : undefined);
  if (codec === undefined) throw new UnknownCodecError(name);
  return codec.decode(copyOf(bytes, end));
}

/** What the value's or the codec's own code returns; what it throws becomes the cause of ours. */
function attempt<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw new NotEncodableError('', 'encoding it threw an error', { cause: error });
  }
}

function framed(head: readonly number[], bytes: Uint8Array): Uint8Array {
  const length = head.length + bytes.length;
  // All of it is written below, and zeroing a megabyte first takes as long as that.
  const frame = length < UNZEROED_BYTES ? new Uint8Array(length) : unzeroed(length);
  frame.set(head);
  frame.set(bytes, head.length);
  return frame;
}

function unzeroed(length: number): Uint8Array {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
}

/** A plain Uint8Array of its own, also where the bytes are a Buffer or a view of a store's memory. */
function copyOf(bytes: Uint8Array, from: number): Uint8Array {
  const copy = new Uint8Array(bytes.length - from);
  copy.set(bytes.subarray(from));
  return copy;
}
