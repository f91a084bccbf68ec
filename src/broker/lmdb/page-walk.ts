/**
 * Follows the B-trees of an LMDB file in plain JavaScript, because the addon trusts every number it finds: a
 * page number beyond the end of the file, or an offset beyond the end of a page, ends the process with a
 * signal.
 *
 *     page    0 number u64 · 8 txn u64 · 16 pad u16 · 18 flags u16 · 20 lower u16 · 22 upper u16 · 24 body
 *             of the body: slots u16 × (lower / 2), free space, nodes from `upper` on
 *     node    0 size u32, or low part of the child's number · 4 flags u16, or its high part · 6 key size u16
 *             8 key, then data; a value on pages of its own has 0 first page u64 · 8 txn u64 · 16 pages u64
 *     tree    0 pad u32 · 4 flags u16 · 6 depth u16 · 8 … 32 counts · 40 root u64, all ones when empty
 *
 * It sees damaged structure and missing pages. It sees no damaged value (records carry checksums) and no
 * wrong order of keys, which loses rows but crashes nothing. It changes nothing, and is of use only while
 * nobody writes.
 *
 * @source liblmdb/mdb.c of lmdb 3.5.6: MDB_page_header, MDB_node, MDB_ovpage, MDB_db, mdb_midl_xmerge.
 */

import fs from 'node:fs';
import { endianness } from 'node:os';

export const isLittleEndian = endianness() === 'LE';
const PAGE_HEADER_BYTES = 24;
const TREE_BYTES = 48;
const NODE_HEADER_BYTES = 8;
/** Deepest tree that the addon has room for. */
const MAX_DEPTH = 32;

const BRANCH_PAGE = 0x01;
const LEAF_PAGE = 0x02;
const OVERFLOW_PAGE = 0x04;
const FIXED_KEYS_PAGE = 0x20;
const KIND_OF_PAGE = 0x0f;
const BIG_DATA = 0x01;
const SUB_TREE = 0x02;

/** What the walk needs to know from the newest meta page. */
export interface Snapshot {
  readonly pageBytes: number;
  /** Highest page in use or on the free list; the file may end before it. */
  readonly lastPage: number;
  readonly freeTree: Tree;
  readonly mainTree: Tree;
}

export interface Tree {
  readonly depth: number;
  /** Page of the root; `undefined` when the tree is empty. */
  readonly root: number | undefined;
}

/** Damage, in words. It never leaves this folder: `preflight` makes a typed error of it. */
export class Damage extends Error {}

interface Step {
  readonly page: number;
  /** Levels from here to the leaves, this page included. */
  readonly height: number;
  readonly isFreeTree: boolean;
}

/** A signed number of 8 bytes; beyond 2^53 it is inexact, which is enough to find it out of bounds. */
export function readNumber(view: DataView, at: number): number {
  const [low, high] = isLittleEndian ? [at, at + 4] : [at + 4, at];
  return view.getInt32(high, isLittleEndian) * 2 ** 32 + view.getUint32(low, isLittleEndian);
}

export function readTree(view: DataView, at: number): Tree {
  const root = readNumber(view, at + 40);
  return { depth: view.getUint16(at + 6, isLittleEndian), root: root === -1 ? undefined : root };
}

/**
 * Walks the trees of a snapshot level by level, at most `maxPages` pages.
 *
 * @param file       Descriptor of the file, open for reading.
 * @param fileBytes  Its length.
 * @returns  Pages read.
 * @throws {Damage}
 */
export function walk(file: number, fileBytes: number, snapshot: Snapshot, maxPages: number): number {
  return new Walk(file, fileBytes, snapshot).run(maxPages);
}

class Walk {
  readonly #file: number;
  readonly #snapshot: Snapshot;
  readonly #pageCount: number;
  readonly #seen: Uint8Array;
  readonly #buffer: Uint8Array;
  readonly #view: DataView;
  readonly #steps: Step[] = [];
  #read = 0;

  constructor(file: number, fileBytes: number, snapshot: Snapshot) {
    this.#file = file;
    this.#snapshot = snapshot;
    this.#pageCount = Math.min(Math.floor(fileBytes / snapshot.pageBytes), snapshot.lastPage + 1);
    this.#seen = new Uint8Array(Math.ceil(this.#pageCount / 8));
    this.#buffer = new Uint8Array(snapshot.pageBytes);
    this.#view = new DataView(this.#buffer.buffer);
  }

  /** Bounded by the pages of the file: none is visited twice. */
  run(maxPages: number): number {
    this.#plan(this.#snapshot.freeTree, true);
    this.#plan(this.#snapshot.mainTree, false);
    for (let next = 0; next < this.#steps.length && this.#read < maxPages; next++)
      this.#visit(this.#steps[next]!);
    return this.#read;
  }

  #plan(tree: Tree, isFreeTree: boolean): void {
    if ((tree.root === undefined) !== (tree.depth === 0) || tree.depth > MAX_DEPTH) {
      throw new Damage(`a tree has depth ${tree.depth} and ${tree.root === undefined ? 'no' : 'a'} root`);
    }
    if (tree.root !== undefined) this.#steps.push({ page: tree.root, height: tree.depth, isFreeTree });
  }

  #visit({ page, height, isFreeTree }: Step): void {
    this.#enter(page, 1);
    this.#load(page, this.#buffer);
    const kind = this.#view.getUint16(18, isLittleEndian) & KIND_OF_PAGE;
    if (kind !== (height === 1 ? LEAF_PAGE : BRANCH_PAGE))
      throw new Damage(`page ${page} is of the wrong kind`);
    const body = this.#snapshot.pageBytes - PAGE_HEADER_BYTES;
    const lower = this.#view.getUint16(20, isLittleEndian);
    const upper = this.#view.getUint16(22, isLittleEndian);
    const slots = lower >> 1;
    if (this.#view.getUint16(18, isLittleEndian) & FIXED_KEYS_PAGE) {
      const keyBytes = this.#view.getUint16(16, isLittleEndian);
      if (slots * keyBytes > body) throw new Damage(`page ${page} has more keys than room`);
      return;
    }
    const fewest = isFreeTree || kind === LEAF_PAGE ? 1 : 2;
    if (lower > upper || upper > body || slots < fewest)
      throw new Damage(`page ${page} has impossible bounds`);
    for (let slot = 0; slot < slots; slot++) {
      const at = this.#view.getUint16(PAGE_HEADER_BYTES + slot * 2, isLittleEndian);
      if (at < upper || at + NODE_HEADER_BYTES > body)
        throw new Damage(`page ${page} has a node outside of itself`);
      const node = PAGE_HEADER_BYTES + at;
      if (kind === LEAF_PAGE) this.#leafNode(page, node, isFreeTree);
      else this.#steps.push({ page: this.#childOf(node), height: height - 1, isFreeTree });
    }
  }

  #childOf(node: number): number {
    return this.#sizeOf(node) + this.#view.getUint16(node + 4, isLittleEndian) * 2 ** 32;
  }

  /** Two halves, the low one first on little-endian machines: together a plain u32 on both. */
  #sizeOf(node: number): number {
    return this.#view.getUint32(node, isLittleEndian);
  }

  #leafNode(page: number, node: number, isFreeTree: boolean): void {
    const size = this.#sizeOf(node);
    const flags = this.#view.getUint16(node + 4, isLittleEndian);
    const data = node + NODE_HEADER_BYTES + this.#view.getUint16(node + 6, isLittleEndian);
    const isBig = (flags & BIG_DATA) !== 0;
    if (data + (isBig ? 24 : size) > this.#buffer.length)
      throw new Damage(`page ${page} has a row that leaves it`);
    if (isBig) {
      const first = readNumber(this.#view, data);
      this.#overflow(first, readNumber(this.#view, data + 16), size);
      if (isFreeTree) this.#freeList(this.#valueAt(first, size));
    } else if (flags & SUB_TREE) {
      if (size !== TREE_BYTES) throw new Damage(`page ${page} has a tree of ${size} bytes`);
      this.#plan(readTree(this.#view, data), false);
    } else if (isFreeTree) {
      this.#freeList(new DataView(this.#view.buffer, data, size));
    }
  }

  /**
   * A value on pages of its own: the first says how many they are, and the addon frees as many as it says.
   */
  #overflow(first: number, pages: number, valueBytes: number): void {
    const fits = pages >= 1 && PAGE_HEADER_BYTES + valueBytes <= pages * this.#snapshot.pageBytes;
    if (!fits) throw new Damage(`the value on page ${first} is larger than its pages`);
    this.#enter(first, pages);
    const header = new Uint8Array(PAGE_HEADER_BYTES);
    this.#load(first, header);
    const view = new DataView(header.buffer);
    const kind = view.getUint16(18, isLittleEndian) & KIND_OF_PAGE;
    if (kind !== OVERFLOW_PAGE || view.getUint32(20, isLittleEndian) !== pages) {
      throw new Damage(`page ${first} does not begin a value of ${pages} pages`);
    }
  }

  #valueAt(first: number, bytes: number): DataView {
    const value = new Uint8Array(bytes);
    fs.readSync(this.#file, value, 0, bytes, first * this.#snapshot.pageBytes + PAGE_HEADER_BYTES);
    return new DataView(value.buffer);
  }

  /**
   * A count, then free pages: a page number, or a negated number of pages and the first of them; 0 is a gap.
   */
  #freeList(list: DataView): void {
    const words = Math.floor(list.byteLength / 8);
    const count = words === 0 ? -1 : readNumber(list, 0);
    if (count < 0 || count >= words) throw new Damage('a list of free pages is longer than its row');
    for (let index = 1; index <= count; index++) {
      let page = readNumber(list, index * 8);
      let pages = 1;
      if (page === 0) continue;
      if (page < 0) {
        pages = -page;
        index += 1;
        page = index <= count ? readNumber(list, index * 8) : 0;
      }
      if (page < 2 || page + pages - 1 > this.#snapshot.lastPage) {
        throw new Damage(`page ${page} is listed as free and is none`);
      }
    }
  }

  /** Marks pages as used; none may be used twice, or lie outside of the file. */
  #enter(first: number, pages: number): void {
    if (first < 2 || first + pages > this.#pageCount)
      throw new Damage(`page ${first} lies outside of the file`);
    for (let page = first; page < first + pages; page++) {
      const bit = 1 << (page & 7);
      if ((this.#seen[page >> 3]! & bit) !== 0) throw new Damage(`page ${page} is used twice`);
      this.#seen[page >> 3]! |= bit;
    }
  }

  #load(page: number, into: Uint8Array): void {
    this.#read += 1;
    const got = fs.readSync(this.#file, into, 0, into.length, page * this.#snapshot.pageBytes);
    if (got < into.length) throw new Damage(`page ${page} is cut off`);
    const view = into === this.#buffer ? this.#view : new DataView(into.buffer);
    if (readNumber(view, 0) !== page) throw new Damage(`page ${page} says that it is another page`);
  }
}
