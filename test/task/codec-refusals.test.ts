/**
 * What the codec refuses, with the path to it; damaged bytes, one kind at a time; and codecs of other
 * formats.
 */

import { describe, expect, it } from 'vitest';
import { NotDecodableError, NotEncodableError, TooLargeError } from '#src/errors.js';
import { type Codec, DEFAULT_ENCODE_LIMITS, decodeValue, encodeValue, jsonCodec } from '#src/task/codec.js';

const DANGEROUS = ['__proto__', 'constructor', 'prototype'];

describe('encodeValue refuses', () => {
  class Point {
    x = 1;
  }
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  const detached = new Uint8Array(4);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const throwing = {
    get secret() {
      throw new Error('no');
    },
  };
  const REFUSED: readonly [string, unknown, string][] = [
    ['a function', () => 1, ''],
    ['a function in an object', { user: { save() {} } }, 'user.save'],
    ['a symbol', { user: { tags: [1, 2, 3, Symbol('x')] } }, 'user.tags[3]'],
    ['a key that is a symbol', { user: { [Symbol('x')]: 1 } }, 'user'],
    ['a class instance', [new Point()], '[0]'],
    ['an array subclass', { list: new (class extends Array {})() }, 'list'],
    ['a boxed number', { n: Object(1) }, 'n'],
    ['a boxed string', { 'odd key': Object('x') }, '["odd key"]'],
    ['a RegExp', { a: { 1: /x/ } }, 'a["1"]'],
    ['an Error', { error: new Error('x') }, 'error'],
    ['a Promise', [[Promise.resolve()]], '[0][0]'],
    ['a WeakMap', { weak: new WeakMap() }, 'weak'],
    ['a SharedArrayBuffer', { shared: new SharedArrayBuffer(1) }, 'shared'],
    ['a detached buffer', { gone: detached }, 'gone'],
    ['a detached buffer at the top', detached, ''],
    // biome-ignore lint/suspicious/noSparseArray: the hole is the point
    ['a hole', { list: [1, , 3] }, 'list[1]'],
    ['a value in a Map', { map: new Map([['k', { f: Symbol() }]]) }, 'map.get("k").f'],
    ['a value under an object in a Map', new Map([[{}, Symbol()]]), 'values()[0]'],
    [
      'a key in a Map',
      {
        map: new Map([
          [1, 1],
          [Symbol(), 1],
        ] as [unknown, unknown][]),
      },
      'map.keys()[1]',
    ],
    ['an item of a Set', { set: new Set([1, Symbol()]) }, 'set.values()[1]'],
    ['a getter that throws', { a: [throwing] }, 'a[0].secret'],
    ['a cycle', cycle, Array(100).fill('self').join('.')],
    ['nesting of 101 levels', nested(101), '[0]'.repeat(100)],
  ];
  for (const [what, value, path] of REFUSED) {
    it(`${what}, at ${path === '' ? 'the top' : path.slice(0, 30)}`, () => {
      const error = caught(() => encodeValue(value));
      expect(error).toBeInstanceOf(NotEncodableError);
      const shown = path.length > 300 ? `${path.slice(0, 150)}…${path.slice(-150)}` : path;
      expect((error as NotEncodableError).path).toBe(shown);
    });
  }

  for (const name of DANGEROUS) {
    it(`an own key ${name}, with or without a prototype`, () => {
      for (const target of [{}, Object.create(null) as object]) {
        const value = Object.defineProperty(target, name, { value: 1, enumerable: true });
        expect((caught(() => encodeValue({ value })) as NotEncodableError).path).toBe(`value.${name}`);
      }
    });
  }

  it('names both the bound and the cycle when a value is too deep', () => {
    expect(() => encodeValue(cycle)).toThrow(/deeper than 100 levels, or refers to itself/);
  });

  it('plain data beyond maxBytes and binary beyond maxBufferBytes, each exactly', () => {
    const limits = { maxBytes: 100, maxBufferBytes: 100 };
    expect(encodeValue('x'.repeat(95), limits)).toHaveLength(101);
    expect(caught(() => encodeValue('x'.repeat(96), limits))).toMatchObject({ bytes: 101, maxBytes: 100 });
    expect(caught(() => encodeValue(10n ** 250n, limits))).toBeInstanceOf(TooLargeError);
    const halves = (length: number) => [new Uint8Array(50), new ArrayBuffer(length)];
    expect(encodeValue(halves(50), limits)).toHaveLength(115);
    expect(() => encodeValue(halves(51), limits, undefined, 'result')).toThrow(
      /result's binary data has 101/,
    );
    expect(encodeValue(new Uint8Array(100), limits)).toHaveLength(101);
    expect(() => encodeValue(new Uint8Array(101), limits)).toThrow('The payload has 101 bytes; at most 100');
  });

  it('a small value whose references unfold without end, before it has unfolded far', () => {
    const value = nested(60, (inner) => [inner, inner]);
    expect(caught(() => encodeValue(value))).toBeInstanceOf(TooLargeError);
    expect(decodeValue(encodeValue('the next value'))).toBe('the next value');
  });
});

describe('decodeValue refuses', () => {
  const REFUSED: readonly [string, readonly number[]][] = [
    ['no bytes', []],
    ['an unknown form', [3, 0xc1]],
    ['an unknown tag', [1, 0xde]],
    ['bytes left over', [1, 0xc1, 0xc1]],
    ['a text of 4 GiB in 5 bytes', [1, 0xcb, 255, 255, 255, 255]],
    ['a binary of 4 GiB in 6 bytes', [1, 0xcf, 2, 255, 255, 255, 255]],
    ['three bytes of a Float64Array', [1, 0xcf, 10, 3, 0, 0, 0, 1, 2, 3]],
    ['an unknown kind of binary', [1, 0xcf, 99, 0, 0, 0, 0]],
    ['a key that is a number', [1, 0xd1, 5, 5, 0xdf]],
    ['an open array', [1, 0xd0, 5]],
    ['arrays 101 deep', [1, ...Array(101).fill(0xd0), ...Array(101).fill(0xdf)]],
    ['a codec without a name', [2, 0, 1]],
    ['a codec with half a name', [2, 4, 0x6a, 0x73]],
    ['JSON that is none', [2, 4, ...Buffer.from('json{')]],
  ];
  for (const [what, bytes] of REFUSED) {
    it(what, () => {
      expect(caught(() => decodeValue(Uint8Array.from(bytes)))).toBeInstanceOf(NotDecodableError);
    });
  }

  for (const name of DANGEROUS) {
    it(`an object with the key ${name}, in each form of text`, () => {
      const short = [0x80 | name.length, ...Buffer.from(name)];
      const long = [0xcb, name.length, 0, 0, 0, ...Buffer.from(name)];
      const wide = [0xcd, name.length * 2, 0, 0, 0, ...Buffer.from(name, 'utf16le')];
      for (const bytes of [short, long, wide]) {
        expect(() => decodeValue(Uint8Array.of(1, 0xd1, ...bytes, 0xd1, 0xdf, 0xdf))).toThrow(
          /key is not allowed/,
        );
      }
    });
  }
});

describe('codecs', () => {
  const shout: Codec = {
    name: 'shout',
    encode: (value) => Buffer.from(String(value).toUpperCase()),
    decode: (bytes) => Buffer.from(bytes).toString(),
  };

  it('are stored by name and found by it', () => {
    const bytes = encodeValue('hello', DEFAULT_ENCODE_LIMITS, shout).slice();
    expect(Buffer.from(bytes).toString('latin1')).toBe('\x02\x05shoutHELLO');
    expect(decodeValue(bytes, new Map([['shout', shout]]))).toBe('HELLO');
    expect(() => decodeValue(bytes)).toThrow('No codec named "shout"');
  });

  it('see raw bytes too, so that one that encrypts is not passed by', () => {
    expect(Buffer.from(encodeValue(Buffer.from('a'), undefined, shout)).toString('latin1')).toBe(
      '\x02\x05shoutA',
    );
  });

  it('fail with our errors, and the codec’s own as the cause', () => {
    const cause = new Error('broken');
    const broken: Codec = { name: 'broken', encode: () => raise(cause), decode: () => raise(cause) };
    expect(caught(() => encodeValue(1, undefined, broken))).toMatchObject({ path: '', cause });
    const bytes = Buffer.from('\x02\x06broken', 'latin1');
    expect(caught(() => decodeValue(bytes, new Map([['broken', broken]])))).toMatchObject({ cause });
    expect(() => encodeValue(1, undefined, { ...shout, name: 'a b' })).toThrow(/codec name must be/);
    expect(() => encodeValue(1, undefined, { ...shout, encode: () => 'x' as never })).toThrow(/Uint8Array/);
    expect(() => encodeValue('abc', { maxBytes: 2, maxBufferBytes: 9 }, shout)).toThrow(TooLargeError);
  });

  it('json has plain JSON semantics, needs no registration and keeps the bound of depth', () => {
    const json = (value: unknown) => decodeValue(encodeValue(value, undefined, jsonCodec).slice());
    expect(json({ at: new Date(0), gone: undefined, text: '"[{\\', n: Number.NaN })).toEqual({
      at: '1970-01-01T00:00:00.000Z',
      text: '"[{\\',
      n: null,
    });
    for (const value of [undefined, () => 1, 1n, nested(101)]) {
      expect(caught(() => json(value))).toBeInstanceOf(NotEncodableError);
    }
    const deep = Buffer.from(`\x02\x04json${'['.repeat(101)}${']'.repeat(101)}`, 'latin1');
    expect(() => decodeValue(deep)).toThrow(/deeper than 100/);
  });
});

function nested(levels: number, wrap: (inner: unknown) => unknown = (inner) => [inner]): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = wrap(value);
  return value;
}

function raise(error: Error): never {
  throw error;
}

function caught(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
