/**
 * Short ASCII texts out of bytes, without a call into native code (which takes longer than the whole text).
 *
 * Keys repeat from task to task, so they come from a cache. Its size is fixed, its places are chosen by a
 * hash of the bytes, and a hit is verified byte by byte: whoever chooses the keys can make it slow, never
 * wrong.
 */

import { isDangerousKey } from './codec-plain.js';

/** A power of two. At 32 bytes a key this is at most some 250 KiB per thread. */
const CACHE_PLACES = 4096;
const CACHED_KEY_MAX = 32;
const cachedKeys: string[] = new Array(CACHE_PLACES).fill('');

const { fromCharCode } = String;

/**
 * The key of `length` bytes at `from`, or undefined if it is not allowed. The bytes must be there.
 * The cache holds allowed keys only, so a hit needs no further check.
 */
export function readKey(bytes: Uint8Array, from: number, length: number): string | undefined {
  if (length > CACHED_KEY_MAX) return readShortText(bytes, from, length);
  let hash = length;
  for (let index = 0; index < length; index++) hash = (hash * 31 + bytes[from + index]!) | 0;
  const place = (hash ^ (hash >>> 11)) & (CACHE_PLACES - 1);
  const cached = cachedKeys[place]!;
  if (cached.length === length && matches(cached, bytes, from)) return cached;
  const key = readShortText(bytes, from, length);
  if (isDangerousKey(key)) return undefined;
  cachedKeys[place] = key;
  return key;
}

/** The ASCII text of `length` bytes at `from`, 0 to 63. The bytes must be there. */
export function readShortText(bytes: Uint8Array, from: number, length: number): string {
  let text = '';
  let at = from;
  const end = from + length;
  for (; at + 8 <= end; at += 8) text += eight(bytes, at);
  for (; at + 4 <= end; at += 4) {
    text += fromCharCode(bytes[at]!, bytes[at + 1]!, bytes[at + 2]!, bytes[at + 3]!);
  }
  for (; at < end; at++) text += fromCharCode(bytes[at]!);
  return text;
}

function eight(bytes: Uint8Array, at: number): string {
  return fromCharCode(
    bytes[at]!,
    bytes[at + 1]!,
    bytes[at + 2]!,
    bytes[at + 3]!,
    bytes[at + 4]!,
    bytes[at + 5]!,
    bytes[at + 6]!,
    bytes[at + 7]!,
  );
}

function matches(text: string, bytes: Uint8Array, from: number): boolean {
  for (let index = 0; index < text.length; index++) {
    if (text.charCodeAt(index) !== bytes[from + index]) return false;
  }
  return true;
}
