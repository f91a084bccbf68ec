/**
 * The buffer behind the plain format (`codec-plain.ts`): grows up to the limits, is used again for the next
 * value, and knows how a number, a text, a bigint and a run of binary are laid out. What may be stored is
 * decided in `codec-writer.ts`, which extends this.
 */

import { TooLargeError } from '../errors.js';
import { SHORT_TEXT_MAX, TAG } from './codec-plain.js';

/** What one value may take. Both bounds are exact. */
export interface EncodeLimits {
  /** Bytes of the encoding without its first byte and without the contents of binary leaves. */
  readonly maxBytes: number;
  /** Bytes of all binary leaves together; also of a raw payload. */
  readonly maxBufferBytes: number;
}

const FIRST_BYTES = 16_384;
/** A buffer that has grown beyond this is given up with the next value. */
const KEEP_BYTES = 2 * 1024 * 1024;
/** More is reserved than is needed by up to this, so growing must not refuse what fits exactly. */
const SLACK_BYTES = 256;
/** Longest binary, because its length is a u32. */
const MAX_LENGTH = 0xffff_ffff;

const SHORT_TEXT = TAG.shortText;

export class PlainBuffer {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #position = 0;
  #bufferBytes = 0;
  #limits: EncodeLimits = { maxBytes: 0, maxBufferBytes: 0 };
  #what = '';

  /** Starts over with `first` as the first byte. */
  protected begin(first: number, limits: EncodeLimits, what: string): void {
    if (this.#bytes.length > KEEP_BYTES) this.#resize(FIRST_BYTES, 0);
    this.#bytes[0] = first;
    this.#position = 1;
    this.#bufferBytes = 0;
    this.#limits = limits;
    this.#what = what;
  }

  /** A view of everything written, valid until the next `begin`. */
  protected finish(): Uint8Array {
    const plainBytes = this.#position - 1 - this.#bufferBytes;
    if (plainBytes > this.#limits.maxBytes)
      throw new TooLargeError(this.#what, plainBytes, this.#limits.maxBytes);
    return new Uint8Array(this.#bytes.buffer, 0, this.#position);
  }

  protected tag(tag: number): void {
    this.#reserve(1);
    this.#bytes[this.#position++] = tag;
  }

  protected number(value: number): void {
    this.#reserve(9);
    const at = this.#position;
    if ((value | 0) !== value || (value === 0 && 1 / value < 0)) {
      this.#bytes[at] = TAG.float64;
      this.#view.setFloat64(at + 1, value, true);
      this.#position = at + 9;
    } else if (value >= 0 && value < 128) {
      this.#bytes[at] = value;
      this.#position = at + 1;
    } else if (value >= -32_768 && value < 32_768) {
      this.#bytes[at] = TAG.int16;
      this.#view.setInt16(at + 1, value, true);
      this.#position = at + 3;
    } else {
      this.#bytes[at] = TAG.int32;
      this.#view.setInt32(at + 1, value, true);
      this.#position = at + 5;
    }
  }

  protected text(text: string): void {
    const length = text.length;
    if (length <= SHORT_TEXT_MAX) this.#shortText(text, length);
    else this.#longText(text, length);
  }

  #shortText(text: string, length: number): void {
    this.#reserve(length + 1);
    const bytes = this.#bytes;
    let at = this.#position;
    bytes[at++] = SHORT_TEXT | length;
    let all = 0;
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index);
      all |= unit;
      bytes[at++] = unit;
    }
    if (all < 0x80) this.#position = at;
    else if (hasLoneSurrogate(text)) this.#utf16Text(text);
    else this.#wideText(text);
  }

  /** Up to 63 characters that are not all ASCII: at most 189 bytes of UTF-8. */
  #wideText(text: string): void {
    this.#reserve(2 + text.length * 3);
    const at = this.#position;
    const written = this.#bytes.write(text, at + 2, 'utf8');
    this.#bytes[at] = TAG.text8;
    this.#bytes[at + 1] = written;
    this.#position = at + 2 + written;
  }

  #longText(text: string, length: number): void {
    const most = 5 + length * 3;
    this.#reserve(this.#position + most > this.#bytes.length ? 5 + Buffer.byteLength(text) : most);
    const at = this.#position;
    const written = this.#bytes.write(text, at + 5, 'utf8');
    // A character outside ASCII takes more bytes than UTF-16 units, so equal counts mean pure ASCII.
    if (written !== length && hasLoneSurrogate(text)) {
      this.#utf16Text(text);
      return;
    }
    this.#bytes[at] = written === length ? TAG.asciiText : TAG.utf8Text;
    this.#view.setUint32(at + 1, written, true);
    this.#position = at + 5 + written;
  }

  #utf16Text(text: string): void {
    this.#reserve(5 + text.length * 2);
    const at = this.#position;
    this.#bytes[at] = TAG.utf16Text;
    this.#view.setUint32(at + 1, text.length * 2, true);
    this.#position = at + 5 + this.#bytes.write(text, at + 5, 'utf16le');
  }

  protected bigint(value: bigint): void {
    this.#reserve(9);
    const at = this.#position;
    if (BigInt.asIntN(64, value) === value) {
      this.#bytes[at] = TAG.bigint64;
      this.#view.setBigInt64(at + 1, value, true);
      this.#position = at + 9;
      return;
    }
    const digits = (value < 0n ? -value : value).toString(16);
    const length = (digits.length + 1) >>> 1;
    this.#reserve(5 + length);
    this.#bytes[at] = value < 0n ? TAG.bigintNegative : TAG.bigintPositive;
    this.#view.setUint32(at + 1, length, true);
    this.#bytes.write(digits.padStart(length * 2, '0'), at + 5, 'hex');
    this.#position = at + 5 + length;
  }

  protected float(tag: number, value: number): void {
    this.#reserve(9);
    this.#bytes[this.#position] = tag;
    this.#view.setFloat64(this.#position + 1, value, true);
    this.#position += 9;
  }

  protected binary(kind: number, contents: Uint8Array): void {
    const length = contents.length;
    this.#bufferBytes += length;
    const most = Math.min(this.#limits.maxBufferBytes, MAX_LENGTH);
    if (this.#bufferBytes > most)
      throw new TooLargeError(`${this.#what}'s binary data`, this.#bufferBytes, most);
    this.#reserve(6 + length);
    const at = this.#position;
    this.#bytes[at] = TAG.binary;
    this.#bytes[at + 1] = kind;
    this.#view.setUint32(at + 2, length, true);
    this.#bytes.set(contents, at + 6);
    this.#position = at + 6 + length;
  }

  #reserve(bytes: number): void {
    if (this.#position + bytes > this.#bytes.length) this.#grow(this.#position + bytes);
  }

  #grow(needed: number): void {
    const plainBytes = needed - 1 - this.#bufferBytes;
    if (plainBytes > this.#limits.maxBytes + SLACK_BYTES) {
      throw new TooLargeError(`${this.#what}, as far as it was encoded,`, plainBytes, this.#limits.maxBytes);
    }
    this.#resize(Math.max(needed, this.#bytes.length * 2), this.#position);
  }

  #resize(length: number, keep: number): void {
    const grown = Buffer.allocUnsafeSlow(length);
    this.#bytes.copy(grown, 0, 0, keep);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

function hasLoneSurrogate(text: string): boolean {
  return !(text as string & { isWellFormed(): boolean }).isWellFormed();
}
