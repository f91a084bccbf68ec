/**
 * What stands for a large payload or result that is kept in a file of its own: where its bytes are, and their
 * checksum. It takes the place of encoded bytes in rows and messages, and begins with a byte that none of
 * them begins with; see `codec.ts`.
 *
 * ```
 * 3  u32 writer  u32 serial  u32 offset  u32 bytes  u32 crc32      big-endian
 * ```
 *
 * The file has the name `<writer>-<serial>.blob`, both numbers in base 36. Pure: no I/O. Only bytes that
 * Millrace itself has stored are ever taken for a reference; those of other processes are refused before
 * (`isEncoded`), or they could name any file.
 */
import { crc32 } from 'node:zlib';

/** The first byte of a reference. */
export const BLOB = 3;
const REFERENCE_BYTES = 21;

/** From this size on an encoded payload or result is kept in a file. */
export const LEAST_BLOB_BYTES = 16_384;
/** A file takes no more once it is so large; what is so large by itself has a file of its own. */
export const BLOB_FILE_BYTES = 1_048_576;

export interface BlobRef {
  /** Name of its file. */
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  /** CRC-32 of the bytes. */
  readonly crc: number;
}

/** One file of one writer: a thread, or the host. */
export interface BlobFile {
  readonly writer: number;
  /** From 0. */
  readonly serial: number;
}

export function isBlobRef(bytes: Uint8Array): boolean {
  return bytes.length === REFERENCE_BYTES && bytes[0] === BLOB;
}

export function encodeBlobRef(file: BlobFile, offset: number, bytes: number, crc: number): Uint8Array {
  const reference = new Uint8Array(REFERENCE_BYTES);
  const view = new DataView(reference.buffer);
  reference[0] = BLOB;
  view.setUint32(1, file.writer);
  view.setUint32(5, file.serial);
  view.setUint32(9, offset);
  view.setUint32(13, bytes);
  view.setUint32(17, crc);
  return reference;
}

/** What a reference says; `reference` is one, see {@link isBlobRef}. */
export function decodeBlobRef(reference: Uint8Array): BlobRef {
  const view = new DataView(reference.buffer, reference.byteOffset, reference.byteLength);
  return {
    file: blobFileName({ writer: view.getUint32(1), serial: view.getUint32(5) }),
    offset: view.getUint32(9),
    bytes: view.getUint32(13),
    crc: view.getUint32(17),
  };
}

export function blobFileName({ writer, serial }: BlobFile): string {
  return `${writer.toString(36)}-${serial.toString(36)}.blob`;
}

/** `undefined` for the name of something else. */
export function parseBlobFileName(name: string): BlobFile | undefined {
  const [, writer, serial] = /^([0-9a-z]{1,7})-([0-9a-z]{1,7})\.blob$/.exec(name) ?? [];
  if (writer === undefined || serial === undefined) return undefined;
  return { writer: Number.parseInt(writer, 36), serial: Number.parseInt(serial, 36) };
}

/** The checksum of bytes that come in parts: give it what it returned for those before. */
export function blobChecksum(part: Uint8Array, before = 0): number {
  return crc32(part, before);
}
