/**
 * Reads one value in the plain format (`codec-plain.ts`). The bytes may be anything: every read is checked
 * against the end, nothing is allocated from a length before that many bytes are known to be there, depth is
 * bounded, and a key that could reach a prototype is refused. It makes data only: no functions, no classes,
 * no code.
 */

import { NotDecodableError } from '../errors.js';
import { BINARY_KINDS, isDangerousKey, MAX_DEPTH, SHORT_TEXT_MAX, TAG } from './codec-plain.js';
import { readKey, readShortText } from './codec-short-text.js';

const SHORT_TEXT = TAG.shortText;
const AFTER_SHORT_TEXT = SHORT_TEXT + SHORT_TEXT_MAX + 1;
const END = TAG.end;

/** Eight bytes on their way to a number. */
const word = new Uint8Array(8);
const wordView = new DataView(word.buffer);

type ViewConstructor = new (buffer: ArrayBuffer) => ArrayBufferView;

export class PlainReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #position: number;
  #depth = 0;
  #buffer: Buffer | undefined;

  constructor(bytes: Uint8Array, from: number) {
    this.#bytes = bytes;
    this.#end = bytes.length;
    this.#position = from;
  }

  /**
   * The value that fills the bytes exactly.
   * @throws {NotDecodableError}
   */
  read(): unknown {
    const value = this.#value(this.#next());
    if (this.#position !== this.#end) this.#refuse(`${this.#end - this.#position} bytes are left over`);
    return value;
  }

  #value(tag: number): unknown {
    if (tag < SHORT_TEXT) return tag;
    if (tag < AFTER_SHORT_TEXT) {
      const length = tag - SHORT_TEXT;
      return readShortText(this.#bytes, this.#take(length), length);
    }
    switch (tag) {
      case TAG.object:
        return this.#record({});
      case TAG.array:
        return this.#array();
      case TAG.null:
        return null;
      case TAG.false:
        return false;
      case TAG.true:
        return true;
      case TAG.undefined:
        return undefined;
      case TAG.float64:
        return this.#word().getFloat64(0, true);
      case TAG.int16:
        return ((this.#next() | (this.#next() << 8)) << 16) >> 16;
      case TAG.int32:
        return this.#length() | 0;
      case TAG.bareObject:
        return this.#record(Object.create(null) as Record<string, unknown>);
      case TAG.map:
        return this.#map();
      case TAG.set:
        return this.#set();
      default:
        return this.#leaf(tag);
    }
  }

  #leaf(tag: number): unknown {
    switch (tag) {
      case TAG.date:
        return new Date(this.#word().getFloat64(0, true));
      case TAG.bigint64:
        return this.#word().getBigInt64(0, true);
      case TAG.bigintPositive:
        return this.#bigint();
      case TAG.bigintNegative:
        return -this.#bigint();
      case TAG.binary:
        return this.#binary();
      default:
        return this.#text(tag) ?? this.#refuse(`${tag} is not a tag`);
    }
  }

  #record(record: Record<string, unknown>): unknown {
    this.#enter();
    for (let tag = this.#next(); tag !== END; tag = this.#next()) {
      const key = this.#key(tag);
      record[key] = this.#value(this.#next());
    }
    this.#depth--;
    return record;
  }

  #array(): unknown[] {
    this.#enter();
    const array: unknown[] = [];
    for (let tag = this.#next(); tag !== END; tag = this.#next()) array.push(this.#value(tag));
    this.#depth--;
    return array;
  }

  #map(): Map<unknown, unknown> {
    this.#enter();
    const map = new Map<unknown, unknown>();
    for (let tag = this.#next(); tag !== END; tag = this.#next()) {
      const key = this.#value(tag);
      map.set(key, this.#value(this.#next()));
    }
    this.#depth--;
    return map;
  }

  #set(): Set<unknown> {
    this.#enter();
    const set = new Set<unknown>();
    for (let tag = this.#next(); tag !== END; tag = this.#next()) set.add(this.#value(tag));
    this.#depth--;
    return set;
  }

  #key(tag: number): string {
    if (tag >= SHORT_TEXT && tag < AFTER_SHORT_TEXT) {
      const length = tag - SHORT_TEXT;
      return readKey(this.#bytes, this.#take(length), length) ?? this.#refuse('a key is not allowed');
    }
    const key = this.#text(tag) ?? this.#refuse(`${tag} is not the tag of a key`);
    return isDangerousKey(key) ? this.#refuse('a key is not allowed') : key;
  }

  /** The text forms that have a length of their own; undefined if the tag is none of them. */
  #text(tag: number): string | undefined {
    if (tag === TAG.text8) return this.#slice('utf8', this.#next());
    if (tag === TAG.asciiText) return this.#slice('latin1', this.#length());
    if (tag === TAG.utf8Text) return this.#slice('utf8', this.#length());
    if (tag === TAG.utf16Text) return this.#slice('utf16le', this.#length());
    return undefined;
  }

  #bigint(): bigint {
    const digits = this.#slice('hex', this.#length());
    return digits === '' ? this.#refuse('a bigint has no digits') : BigInt(`0x${digits}`);
  }

  #binary(): ArrayBuffer | ArrayBufferView {
    const kind = BINARY_KINDS[this.#next()];
    const length = this.#length();
    const from = this.#take(length);
    const contents = new Uint8Array(length);
    contents.set(this.#bytes.subarray(from, from + length));
    if (kind === 'Uint8Array') return contents;
    if (kind === 'ArrayBuffer') return contents.buffer;
    const View = viewConstructor(kind) ?? this.#refuse('its kind of binary data does not exist here');
    return new View(contents.buffer);
  }

  #slice(encoding: BufferEncoding, length: number): string {
    const from = this.#take(length);
    const bytes = this.#bytes;
    this.#buffer ??= Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    return this.#buffer.toString(encoding, from, from + length);
  }

  #length(): number {
    const from = this.#take(4);
    const bytes = this.#bytes;
    const low = bytes[from]! | (bytes[from + 1]! << 8) | (bytes[from + 2]! << 16);
    return (low | (bytes[from + 3]! << 24)) >>> 0;
  }

  /** The next eight bytes, where a number can be read from, aligned or not. */
  #word(): DataView {
    const from = this.#take(8);
    const bytes = this.#bytes;
    for (let index = 0; index < 8; index++) word[index] = bytes[from + index]!;
    return wordView;
  }

  #next(): number {
    if (this.#position >= this.#end) this.#refuse('it ends too early');
    return this.#bytes[this.#position++]!;
  }

  /** Steps over bytes that must be there; returns where they begin. */
  #take(length: number): number {
    const from = this.#position;
    if (length > this.#end - from) this.#refuse('it ends too early');
    this.#position = from + length;
    return from;
  }

  #enter(): void {
    if (++this.#depth > MAX_DEPTH) this.#refuse(`it is nested deeper than ${MAX_DEPTH} levels`);
  }

  #refuse(why: string): never {
    throw new NotDecodableError(`${why} (at byte ${this.#position} of ${this.#end})`);
  }
}

/** Only names of our table reach the global object. */
function viewConstructor(kind: (typeof BINARY_KINDS)[number] | undefined): ViewConstructor | undefined {
  return kind && (globalThis as unknown as Record<string, ViewConstructor | undefined>)[kind];
}
