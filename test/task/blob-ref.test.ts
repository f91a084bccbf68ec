/** References to large bytes, and that nothing else is ever taken for one. */
import { describe, expect, it } from 'vitest';
import {
  blobFileName,
  decodeBlobRef,
  encodeBlobRef,
  isBlobRef,
  parseBlobFileName,
} from '#src/task/blob-ref.js';
import { decodeOwn, decodeValue, encodeValue, isEncoded, jsonCodec } from '#src/task/codec.js';

const MOST = 0xffff_ffff;

describe('a reference', () => {
  for (const [writer, serial, offset, bytes, crc] of [
    [0, 0, 0, 0, 0],
    [1, 2, 3, 4, 5],
    [MOST, MOST, MOST, MOST, MOST],
  ] as const) {
    it(`says what was put into it: ${writer} ${serial} ${offset} ${bytes} ${crc}`, () => {
      const reference = encodeBlobRef({ writer, serial }, offset, bytes, crc);
      expect(isBlobRef(reference)).toBe(true);
      expect(decodeBlobRef(reference)).toEqual({
        file: blobFileName({ writer, serial }),
        offset,
        bytes,
        crc,
      });
      expect(parseBlobFileName(blobFileName({ writer, serial }))).toEqual({ writer, serial });
      // Also out of the middle of a row.
      const row = Buffer.concat([Buffer.alloc(7, 9), reference]);
      expect(decodeBlobRef(row.subarray(7))).toEqual(decodeBlobRef(reference));
    });
  }

  it('is no encoded value: it is refused from other processes, and not decoded', () => {
    const reference = encodeBlobRef({ writer: 1, serial: 0 }, 0, 20_000, 7);
    expect(isEncoded(reference)).toBe(false);
    expect(() => decodeValue(reference)).toThrow('3 is not a form of encoding');
  });

  it('is nothing that a value is encoded as, of whatever length', () => {
    for (let length = 0; length < 40; length++) {
      expect(isBlobRef(encodeValue(new Uint8Array(length).fill(3)))).toBe(false);
      expect(isBlobRef(encodeValue('\x03'.repeat(length)))).toBe(false);
      expect(isBlobRef(encodeValue([length, 'x'.repeat(length)], undefined, jsonCodec))).toBe(false);
    }
    expect(isBlobRef(new Uint8Array(22).fill(3))).toBe(false);
  });

  for (const name of ['', 'README', '1-0', '1-0.blob.tmp', '../1-0.blob', '-1.blob', 'A-0.blob']) {
    it(`is no name of a file of blobs: "${name}"`, () => expect(parseBlobFileName(name)).toBeUndefined());
  }
});

describe('bytes that came apart from their first one', () => {
  for (const value of [null, 'text', { deep: [1n, new Date(5), new Uint8Array([1, 2])] }]) {
    it(`are decoded as together: ${typeof value}`, () => {
      const bytes = encodeValue(value).slice();
      expect(decodeOwn(bytes[0], bytes.slice(1))).toEqual(value);
    });
  }

  it('are decoded by the codec they name', () => {
    const bytes = encodeValue({ a: [1] }, undefined, jsonCodec).slice();
    expect(decodeOwn(bytes[0], bytes.slice(1))).toEqual({ a: [1] });
  });

  it('are the value itself when they are raw', () => {
    const rest = new Uint8Array([1, 2, 3]);
    expect(decodeOwn(0, rest)).toBe(rest);
  });

  it('are refused as others are', () => {
    expect(() => decodeOwn(undefined, new Uint8Array(0))).toThrow('there are no bytes');
    expect(() => decodeOwn(3, new Uint8Array(20))).toThrow('3 is not a form of encoding');
    expect(() => decodeOwn(2, new Uint8Array([9, 1]))).toThrow('the name of its codec is cut off');
  });
});
