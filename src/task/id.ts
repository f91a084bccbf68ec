/**
 * Task identity: 128 bits, made by the backend. Backends that keep an index of their own use all of them as
 * random bits; the embedded store puts the task's place into them, so that any task is found without an
 * index:
 *
 *     byte 0    4         10      12      14      15      16
 *          │store│ segment │ index │ queue │ level │ flags │      big-endian
 *
 * The text form is base32 with digits 0-9a-v: 26 characters, case-insensitive, sorts like the bytes. It is
 * made only when somebody asks, since most tasks of a flood are never looked at by name.
 */
import type { TaskId } from './task.js';

export const ID_BYTES = 16;
const ID_CHARS = 26;
const DIGITS = '0123456789abcdefghijklmnopqrstuv';
const VALUES = new Int8Array(128).fill(-1);
for (let value = 0; value < 32; value++) VALUES[DIGITS.charCodeAt(value)] = value;

/** Text of the id whose 16 bytes begin at `at`. */
export function formatId(bytes: Uint8Array, at = 0): TaskId {
  let text = '';
  let bits = 0;
  let value = 0;
  for (let index = 0; index < ID_BYTES; index++) {
    value = (value << 8) | bytes[at + index]!;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += DIGITS[(value >>> bits) & 31];
    }
    value &= (1 << bits) - 1;
  }
  return text + DIGITS[(value << (5 - bits)) & 31];
}

/** The 16 bytes of `id`, or `undefined` when it is not the text of an id. */
export function parseId(id: TaskId): Uint8Array | undefined {
  if (typeof id !== 'string' || id.length !== ID_CHARS) return undefined;
  const bytes = new Uint8Array(ID_BYTES);
  let bits = 0;
  let value = 0;
  let at = 0;
  for (let index = 0; index < ID_CHARS; index++) {
    const digit = VALUES[id.charCodeAt(index)] ?? -1;
    if (digit < 0) return undefined;
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (value >>> bits) & 255;
      value &= (1 << bits) - 1;
    }
  }
  return value === 0 ? bytes : undefined;
}
