/**
 * The codec 'json': JSON text in UTF-8 with plain JSON semantics, for readers in other languages. `toJSON` is
 * called, `undefined` in an object is dropped, NaN becomes null, a Date becomes text. Only the depth is
 * bounded, as everywhere.
 */

import { NotDecodableError, NotEncodableError } from '../errors.js';
import type { Codec } from './codec.js';
import { MAX_DEPTH } from './codec-plain.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const BRACKETS = { '[': 0x5b, ']': 0x5d, '{': 0x7b, '}': 0x7d };

export const jsonCodec: Codec = {
  name: 'json',

  encode(value) {
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined) throw new NotEncodableError('', `JSON has no form for ${typeof value}`);
    const bytes = Buffer.from(text);
    if (isTooDeep(bytes)) throw new NotEncodableError('', `it is nested deeper than ${MAX_DEPTH} levels`);
    return bytes;
  },

  decode(bytes) {
    if (isTooDeep(bytes)) throw new NotDecodableError(`it is nested deeper than ${MAX_DEPTH} levels`);
    try {
      return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
    } catch {
      // The parser's message quotes the text, and payloads do not belong into errors.
      throw new NotDecodableError('it is not JSON');
    }
  },
};

/**
 * Counts brackets outside of texts. Bytes that are not JSON may be counted wrongly; the parser refuses those.
 */
function isTooDeep(bytes: Uint8Array): boolean {
  let depth = 0;
  let insideText = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (insideText) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) insideText = false;
    } else if (byte === QUOTE) insideText = true;
    else if (byte === BRACKETS['['] || byte === BRACKETS['{']) {
      if (++depth > MAX_DEPTH) return true;
    } else if (byte === BRACKETS[']'] || byte === BRACKETS['}']) depth--;
  }
  return false;
}
