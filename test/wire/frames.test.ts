/** Messages on a stream: what was written arrives, however the stream cuts it, and nothing else gets in. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '#src/errors.js';
import { FrameReader, frameOf } from '#src/wire/frames.js';

const MAX_BYTES = 1_000;

function readerOf(...chunks: Uint8Array[]): unknown[] {
  const reader = new FrameReader(MAX_BYTES);
  return chunks.flatMap((chunk) => reader.push(chunk));
}

describe('a stream of frames', () => {
  it('gives the messages that were written, wherever it is cut', () => {
    const message = fc.oneof(
      fc.record({ kind: fc.string({ maxLength: 20 }), body: fc.uint8Array({ maxLength: 200 }) }),
      fc.array(fc.integer(), { maxLength: 50 }),
    );
    fc.assert(
      fc.property(fc.array(message, { maxLength: 10 }), fc.array(fc.nat(400)), (messages, cuts) => {
        let stream = Buffer.concat(messages.map((each) => frameOf(each)));
        const chunks: Uint8Array[] = [];
        for (const cut of cuts) {
          chunks.push(stream.subarray(0, cut));
          stream = stream.subarray(cut);
        }
        expect(readerOf(...chunks, stream)).toEqual(messages);
      }),
    );
  });

  it('tells nothing of a frame before its last byte', () => {
    const frame = frameOf({ kind: 'hello' });
    expect(readerOf(frame.subarray(0, -1))).toEqual([]);
  });

  it('gives memory of its own', () => {
    const frame = frameOf({ body: new Uint8Array([1, 2, 3]) });
    const [message] = readerOf(frame) as [{ body: Uint8Array }];
    frame.fill(0);
    expect(message.body).toEqual(new Uint8Array([1, 2, 3]));
  });

  it('takes a frame of exactly the bound and refuses the next byte before it has arrived', () => {
    const overhead = frameOf(new Uint8Array(0)).length - 4;
    const largest = frameOf(new Uint8Array(MAX_BYTES - overhead));
    expect(readerOf(largest)).toHaveLength(1);
    const larger = frameOf(new Uint8Array(MAX_BYTES - overhead + 1));
    expect(() => readerOf(larger.subarray(0, 4))).toThrow(ProtocolError);
  });

  it('never gives anything but messages or a ProtocolError for bytes of a stranger', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 20 }), (chunks) => {
        try {
          readerOf(...chunks);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
    expect(() => readerOf(new Uint8Array([0, 0, 0, 0]))).toThrow(ProtocolError);
    expect(() => readerOf(new Uint8Array([1, 0, 0, 0, 0xff]))).toThrow(ProtocolError);
  });
});
