/**
 * The codec: what goes in comes out equal, and any bytes at all are safe to decode. Equality here is stricter
 * than `toEqual`: it tells -0 from 0, the kinds of binary, and the order of keys.
 */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MillraceError } from '#src/errors.js';
import { decodeValue, encodeValue } from '#src/task/codec.js';

type ViewConstructor = new (buffer: ArrayBuffer, from: number, length: number) => ArrayBufferView;

const VIEWS: readonly ViewConstructor[] = [
  Uint8Array,
  Uint8ClampedArray,
  Int8Array,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
];
const DANGEROUS = ['__proto__', 'constructor', 'prototype'];

/** Encodes, copies and decodes. */
function roundTrip(value: unknown): unknown {
  return decodeValue(encodeValue(value).slice());
}

/** Throws when the two differ in anything that the codec promises to keep. */
function expectSame(actual: unknown, expected: unknown): void {
  if (typeof expected !== 'object' || expected === null) {
    if (!Object.is(actual, expected)) expect(actual).toBe(expected);
    return;
  }
  const prototype = Buffer.isBuffer(expected) ? Uint8Array.prototype : Object.getPrototypeOf(expected);
  expect(Object.getPrototypeOf(actual)).toBe(prototype);
  const items = itemsOf(actual as object);
  const expectedItems = itemsOf(expected);
  expect(items.length).toBe(expectedItems.length);
  for (const [index, item] of expectedItems.entries()) expectSame(items[index], item);
}

/** Everything an object holds, in order, as a flat list. */
function itemsOf(value: object): readonly unknown[] {
  if (value instanceof Date) return [value.getTime()];
  if (value instanceof ArrayBuffer) return [...new Uint8Array(value)];
  if (ArrayBuffer.isView(value)) return [...new Uint8Array(value.buffer, value.byteOffset, value.byteLength)];
  if (value instanceof Map) return [...value].flat(1);
  if (value instanceof Set) return [...value];
  return Array.isArray(value) ? value : Object.entries(value).flat(1);
}

/** A view that begins and ends inside of a larger buffer, so that a copy of the whole would show. */
function viewInside(View: ViewConstructor, units: number): ArrayBufferView {
  const buffer = new Uint8Array(64).map((_, index) => index * 7 + units).buffer;
  return new View(buffer, 8, units);
}

/**
 * UTF-16 units at random: nearly every string has lone surrogates, or texts in other scripts, or plain ASCII.
 */
const text = fc.oneof(
  fc.string({ maxLength: 70 }),
  fc.string({ unit: 'binary', maxLength: 70 }),
  fc.string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    maxLength: 70,
  }),
);
const key = text.filter((name) => !DANGEROUS.includes(name));

const { value: anyValue } = fc.letrec<{ value: unknown; leaf: unknown }>((tie) => ({
  leaf: fc.oneof(
    fc.constantFrom(
      null,
      undefined,
      true,
      false,
      -0,
      0,
      Number.NaN,
      127,
      128,
      -32_768,
      32_768,
      2 ** 31,
      2 ** 53,
    ),
    fc.integer(),
    fc.double(),
    fc.bigInt(),
    fc.bigInt({ min: -(2n ** 2000n), max: 2n ** 2000n }),
    text,
    fc.date({ noInvalidDate: false }),
    fc.tuple(fc.constantFrom(...VIEWS), fc.nat(7)).map(([View, units]) => viewInside(View, units)),
    fc.uint8Array().map((bytes) => bytes.buffer),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  ),
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    tie('leaf'),
    fc.array(tie('value')),
    fc.dictionary(key, tie('value')),
    fc.dictionary(key, tie('value'), { noNullPrototype: true }),
    fc.array(fc.tuple(tie('value'), tie('value'))).map((entries) => new Map(entries)),
    fc.array(tie('value')).map((items) => new Set(items)),
  ),
}));

function nested(levels: number, wrap: (inner: unknown) => unknown = (inner) => [inner]): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = wrap(value);
  return value;
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return 0;
  return 1 + Math.max(0, ...itemsOf(value).map(depthOf));
}

describe('encodeValue and decodeValue', () => {
  it('law: every supported value comes back the same', () => {
    fc.assert(
      fc.property(anyValue, (value) => expectSame(roundTrip(value), value)),
      { numRuns: 400 },
    );
  });

  for (const length of [0, 1, 63, 64, 85, 255, 256, 70_000]) {
    it(`keeps texts of ${length} characters: ASCII, accented, Japanese, lone surrogates`, () => {
      for (const unit of ['a', 'é', '語', '\ud800', '\u{1f600}']) {
        const value = unit.repeat(length);
        expectSame(roundTrip({ [value]: value, mixed: `a${value}` }), { [value]: value, mixed: `a${value}` });
      }
    });
  }

  it('keeps a Uint8Array at the top as raw bytes, a Buffer as a plain Uint8Array of its own memory', () => {
    const pooled = Buffer.from('some text');
    expect(Buffer.from(encodeValue(pooled)).toString('latin1')).toBe('\0some text');
    const bytes = roundTrip(pooled) as Uint8Array;
    expectSame(bytes, pooled);
    expect(bytes.buffer.byteLength).toBe(9);
  });

  it('keeps the order of keys, numeric ones first as always', () => {
    expect(Object.keys(roundTrip({ z: 1, a: 2, 10: 3, 9: 4 }) as object)).toEqual(['9', '10', 'z', 'a']);
  });

  it('keeps values nested 100 deep', () => {
    expect(depthOf(roundTrip(nested(100)))).toBe(100);
    expect(depthOf(roundTrip(nested(100, (inner) => ({ inner }))))).toBe(100);
  });

  it('does not consult toJSON, and leaves out keys that are inherited or hidden', () => {
    Object.defineProperty(Object.prototype, 'inherited', {
      configurable: true,
      enumerable: true,
      value: 1,
      writable: true,
    });
    try {
      const value = Object.defineProperty({ toJSON: 1 }, 'hidden', { value: 1 });
      expect(Object.keys(roundTrip(value) as object)).toEqual(['toJSON']);
    } finally {
      delete (Object.prototype as { inherited?: number }).inherited;
    }
  });

  it('survives a getter that encodes something itself', () => {
    const value = {
      before: 'text',
      get inner() {
        return encodeValue({ other: 'x'.repeat(50) }).length;
      },
    };
    expect(roundTrip(value)).toEqual({ before: 'text', inner: 60 });
  });

  it('treats a Proxy as what it looks like', () => {
    expect(roundTrip(new Proxy({ a: [1] }, {}))).toEqual({ a: [1] });
    expect(() => encodeValue({ map: new Proxy(new Map(), {}) })).toThrow(
      'Cannot encode map: reading it threw',
    );
  });
});

describe('decodeValue of bytes that may be anything', () => {
  /** Decodes bytes of any origin: one of our errors, or data within the bounds. */
  function decodeSafely(bytes: Uint8Array): void {
    try {
      expect(depthOf(decodeValue(bytes))).toBeLessThanOrEqual(100);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  }

  it('law: random bytes are refused or give plain data', () => {
    const bytes = fc.tuple(fc.nat(3), fc.uint8Array({ maxLength: 200 }));
    fc.assert(
      fc.property(bytes, ([first, rest]) => decodeSafely(Uint8Array.of(first, ...rest))),
      { numRuns: 3000 },
    );
  });

  it('law: damaged encodings are refused or give plain data', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(anyValue, damage, fc.nat(), (value, changes, cut) => {
        const bytes = encodeValue(value).slice();
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        decodeSafely(bytes);
        decodeSafely(bytes.subarray(0, cut % (bytes.length + 1)));
      }),
      { numRuns: 400 },
    );
  });
});
