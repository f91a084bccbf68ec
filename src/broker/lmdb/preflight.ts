/**
 * Looks at `data.mdb` before the addon does: that one opens a 0-byte file as an empty store, and ends the
 * process with a signal on a truncated or overwritten one.
 *
 *     meta page   24 magic u32 · 28 version u32 · 32 address u64 · 40 map size u64 · 48 tree of free pages,
 *                 its pad the page size · 96 main tree · 144 last page u64 · 152 txn u64 · 160 boot id
 *
 * There are two meta pages, at 0 and at one page size; commit N writes the one at N mod 2, after its pages
 * are on disk. So after a kill or a power loss both are whole, and the newer one describes pages that are all
 * there. What may differ is the length of the file: longer, by pages of a commit that did not end; shorter,
 * when the last pages were taken and given back within one commit, for then they are free and were never
 * written. A file that is too short is therefore damaged only if a page in use is missing, and finding out
 * takes a walk through all its trees. Other files are walked as well, as far as that costs little.
 *
 * It never repairs, and it reads the layout of 64-bit builds: on a 32-bit host only an empty file is found
 * out.
 *
 * @source liblmdb/mdb.c of lmdb 3.5.6: MDB_meta, mdb_env_read_header, mdb_env_init_meta, mdb_env_write_meta.
 */

import fs from 'node:fs';
import { MillraceError, StoreCorruptError, StoreForeignError, StoreUnavailableError } from '../../errors.js';
import { errnoOf, reasonOf } from '../../owner/durable-file.js';
import { Damage, isLittleEndian, readNumber, readTree, type Snapshot, walk } from './page-walk.js';

export interface PreflightOptions {
  /**
   * True when the store has had its first commit (`openManifest(folder).fresh` is false). Then a missing
   * file, or one without a commit, is damage and not a beginning. Default false.
   */
  readonly committed?: boolean;
}

/** Pages looked at in a file of full length: some 25 ms. */
const MAX_PAGES = 8_192;

/** Pages that a sound file may lack at its end; one commit would have to give back 16 GiB to leave more. */
const MAX_MISSING_PAGES = 2 ** 22;

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
/** From the beginning of a meta page to the end of what it says. */
export const META_BYTES = 168;
const META_PAGE = 0x08;
const ENCRYPTED = 0x2000;
/**
 * Orders of keys and duplicates: the tree of free pages has integer keys, the main tree, which holds names,
 * none.
 */
const ORDER_FLAGS = 0x7e;
const INTEGER_KEYS = 0x08;
const ARCHITECTURES_OF_32_BITS = ['arm', 'ia32', 'mips', 'mipsel', 'ppc', 's390'];

interface Meta extends Snapshot {
  readonly transaction: number;
}

/**
 * Returns when the addon may open `file`; a missing file may be created. To be called by the owner of the
 * folder, while the file is not open.
 *
 * @throws {StoreCorruptError} when the file is empty, truncated or overwritten.
 * @throws {StoreForeignError} when it is LMDB's, but of another version, byte order or mode.
 * @throws {StoreUnavailableError} when it cannot be read.
 */
export function preflight(file: string, { committed = false }: PreflightOptions = {}): void {
  let descriptor: number;
  try {
    descriptor = fs.openSync(file, 'r');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw new StoreUnavailableError(file, reasonOf(error), { cause: error });
    if (committed) throw new StoreCorruptError(file, 'it is missing');
    return;
  }
  try {
    const stat = fs.fstatSync(descriptor);
    if (!stat.isFile()) throw new StoreForeignError(file, 'it is not a file');
    inspect(file, descriptor, stat.size, committed);
  } catch (error) {
    if (error instanceof Damage) throw new StoreCorruptError(file, error.message);
    if (error instanceof MillraceError) throw error;
    throw new StoreUnavailableError(file, reasonOf(error), { cause: error });
  } finally {
    fs.closeSync(descriptor);
  }
}

function inspect(file: string, descriptor: number, fileBytes: number, committed: boolean): void {
  if (fileBytes === 0) throw new Damage('it is empty');
  if (ARCHITECTURES_OF_32_BITS.includes(process.arch)) return;
  const first = readMeta(file, descriptor, 0);
  const second = readMeta(file, descriptor, first.pageBytes);
  if (second.pageBytes !== first.pageBytes) throw new Damage('its two meta pages name different page sizes');
  const newest = first.transaction >= second.transaction ? first : second;
  if (committed && newest.transaction === 0) throw new Damage('it holds no commit, but had some');
  const missing = newest.lastPage + 1 - Math.floor(fileBytes / newest.pageBytes);
  if (missing > MAX_MISSING_PAGES) throw new Damage(`it lacks ${missing} pages`);
  walk(descriptor, fileBytes, newest, missing > 0 ? Number.POSITIVE_INFINITY : MAX_PAGES);
}

function readMeta(file: string, descriptor: number, at: number): Meta {
  const bytes = new Uint8Array(META_BYTES);
  if (fs.readSync(descriptor, bytes, 0, META_BYTES, at) < META_BYTES)
    throw new Damage('it ends within its header');
  const view = new DataView(bytes.buffer);
  checkMagic(file, view);
  const pageBytes = pageBytesOf(bytes);
  const isPowerOfTwo = (pageBytes & (pageBytes - 1)) === 0;
  if (!isPowerOfTwo || pageBytes < 256 || pageBytes > 65_536)
    throw new Damage(`its page size is ${pageBytes}`);
  if (readNumber(view, 0) !== at / pageBytes || !(view.getUint16(18, isLittleEndian) & META_PAGE)) {
    throw new Damage('a meta page is overwritten');
  }
  if (view.getUint16(52, isLittleEndian) & ENCRYPTED) throw new StoreForeignError(file, 'it is encrypted');
  const [freeOrder, mainOrder] = [view.getUint16(52, isLittleEndian), view.getUint16(100, isLittleEndian)];
  if ((freeOrder & ORDER_FLAGS) !== INTEGER_KEYS || (mainOrder & ORDER_FLAGS) !== 0) {
    throw new Damage('a tree has an impossible order');
  }
  const lastPage = readNumber(view, 144);
  if (lastPage < 1 || lastPage > Number.MAX_SAFE_INTEGER / pageBytes)
    throw new Damage(`its last page is ${lastPage}`);
  const transaction = readNumber(view, 152);
  if (transaction < 0) throw new Damage('its transaction number is impossible');
  return { pageBytes, lastPage, transaction, freeTree: readTree(view, 48), mainTree: readTree(view, 96) };
}

/** The page size that the first bytes of a file name; nothing says yet that it makes sense. */
export function pageBytesOf(header: Uint8Array): number {
  return new DataView(header.buffer, header.byteOffset).getUint32(48, isLittleEndian);
}

function checkMagic(file: string, view: DataView): void {
  if (view.getUint32(24, !isLittleEndian) === MAGIC) {
    throw new StoreForeignError(file, 'it was written on a machine with the other byte order');
  }
  if (view.getUint32(16, isLittleEndian) === MAGIC) {
    throw new StoreForeignError(
      file,
      'it was written by LMDB 0.9, whose format the package lmdb does not use',
    );
  }
  if (view.getUint32(24, isLittleEndian) !== MAGIC)
    throw new Damage('it does not begin as an LMDB file does');
  const version = view.getUint32(28, isLittleEndian) & 0xffff;
  if (version !== DATA_VERSION)
    throw new StoreForeignError(file, `LMDB's data version is ${version}, not ${DATA_VERSION}`);
}
