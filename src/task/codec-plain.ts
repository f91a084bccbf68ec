/**
 * The plain format: what the bytes of a payload or result mean. Writer and reader share this file and nothing
 * else.
 *
 * ```
 * value := 00..7f                        integer 0 to 127
 *        | 80..bf  bytes                 ASCII text of 0 to 63 bytes
 *        | c0 | c1 | c2 | c3             undefined, null, false, true
 *        | c4 i16 | c5 i32 | c6 f64      number (-0, NaN and the infinities are f64)
 *        | c7 i64                        bigint
 *        | c8 u32 bytes | c9 u32 bytes   bigint >= 0, bigint < 0: magnitude, most significant byte first
 *        | ca u8 bytes                   UTF-8 text of up to 255 bytes
 *        | cb u32 bytes                  ASCII text
 *        | cc u32 bytes                  UTF-8 text
 *        | cd u32 bytes                  UTF-16 text: the only form that can hold a lone surrogate
 *        | ce f64                        Date (NaN is an invalid one)
 *        | cf u8 u32 bytes               binary leaf: index in `BINARY_KINDS`, length, bytes
 *        | d0 value* df                  array
 *        | d1 (key value)* df            object
 *        | d2 (key value)* df            object without a prototype
 *        | d3 (value value)* df          Map
 *        | d4 value* df                  Set
 * key   := value of a text form
 * ```
 *
 * All numbers are little endian. Containers end with a mark instead of beginning with a count, so nothing is
 * ever allocated from a count, and a Map that changes while it is written still gives valid bytes. The bytes
 * are stored: a tag never changes its meaning, new forms take new tags.
 */

export const TAG = {
  shortText: 0x80,
  undefined: 0xc0,
  null: 0xc1,
  false: 0xc2,
  true: 0xc3,
  int16: 0xc4,
  int32: 0xc5,
  float64: 0xc6,
  bigint64: 0xc7,
  bigintPositive: 0xc8,
  bigintNegative: 0xc9,
  text8: 0xca,
  asciiText: 0xcb,
  utf8Text: 0xcc,
  utf16Text: 0xcd,
  date: 0xce,
  binary: 0xcf,
  array: 0xd0,
  object: 0xd1,
  bareObject: 0xd2,
  map: 0xd3,
  set: 0xd4,
  end: 0xdf,
} as const;

/** Longest text, in bytes, whose length fits into its tag. */
export const SHORT_TEXT_MAX = 63;

/**
 * Containers inside containers, the outermost counted. Writer and reader refuse the next one; a cycle ends
 * here.
 */
export const MAX_DEPTH = 100;

/** Names of the binary leaves; the index is stored. */
export const BINARY_KINDS = [
  'ArrayBuffer',
  'DataView',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int8Array',
  'Uint16Array',
  'Int16Array',
  'Uint32Array',
  'Int32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
  'Float16Array',
] as const;

/**
 * Whether a key can reach a prototype when somebody copies or merges the object. Such keys are refused both
 * ways. The lengths are compared first because this runs for every key.
 */
export function isDangerousKey(key: string): boolean {
  const length = key.length;
  if (length === 9) return key === '__proto__' || key === 'prototype';
  return length === 11 && key === 'constructor';
}
