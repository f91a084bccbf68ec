/**
 * Messages on a stream of bytes: the owner's socket and the pipes of child processes carry them. A message is
 * plain data in the plain format of the codec, whose reader is safe on any bytes.
 *
 *     frame   [bytes of the content u32, little-endian][content: the codec's bytes of one value]
 *
 * It decides nothing about what a message means, and opens no stream.
 */
import { ProtocolError } from '../errors.js';
import { decodeValue, encodeValue } from '../task/codec.js';

const HEADER_BYTES = 4;
/** A writer is one of us; what a reader takes is bounded by the reader. */
const NO_LIMITS = { maxBytes: 2 ** 31, maxBufferBytes: 2 ** 31 };

/**
 * One message as bytes of its own.
 * @throws {NotEncodableError} when it is no plain data.
 */
export function frameOf(message: unknown): Buffer {
  const content = encodeValue(message, NO_LIMITS);
  const frame = Buffer.allocUnsafeSlow(HEADER_BYTES + content.length);
  frame.writeUInt32LE(content.length, 0);
  frame.set(content, HEADER_BYTES);
  return frame;
}

/** Puts the chunks of a stream together again. What it holds of an unfinished frame is what has arrived. */
export class FrameReader {
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  /** @param maxBytes  Content of the largest frame that is taken. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * The messages that are complete with this chunk, in order.
   * @throws {ProtocolError} for a frame that is too large or does not decode; the stream is then of no use.
   */
  push(chunk: Uint8Array): unknown[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const messages: unknown[] = [];
    for (let needed = this.#needed(); this.#bytes >= needed; needed = this.#needed()) {
      messages.push(decode(this.#take(needed)));
    }
    return messages;
  }

  /** Bytes of the frame that comes next, its header included; of the header alone while that is unknown. */
  #needed(): number {
    if (this.#bytes < HEADER_BYTES) return HEADER_BYTES;
    if (this.#chunks[0]!.length < HEADER_BYTES) this.#chunks = [Buffer.concat(this.#chunks)];
    const [first] = this.#chunks;
    const length = new DataView(first!.buffer, first!.byteOffset).getUint32(0, true);
    if (length > this.#maxBytes) {
      throw new ProtocolError(`a frame of ${length} bytes; at most ${this.#maxBytes} are taken`);
    }
    // An empty frame is none: it would decode to nothing.
    if (length === 0) throw new ProtocolError('an empty frame');
    return HEADER_BYTES + length;
  }

  /** Takes a frame out of the chunks and returns its content. */
  #take(bytes: number): Uint8Array {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#bytes -= bytes;
    this.#chunks = this.#bytes > 0 ? [all.subarray(bytes)] : [];
    return all.subarray(HEADER_BYTES, bytes);
  }
}

function decode(content: Uint8Array): unknown {
  try {
    return decodeValue(content);
  } catch (error) {
    throw new ProtocolError('a frame that does not decode', { cause: error });
  }
}
