/**
 * What the addon must never see, and what it must always get.
 *
 * Files come from real lmdb processes (test/fixtures/lmdb-write.mjs); a corpus of damaged copies goes through
 * `preflight`, and each copy that it lets pass is opened, read and written by a child process, which must
 * survive. The corpus is drawn from a fixed seed, so a failure names a file that the next run makes again.
 */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { preflight } from '#src/broker/lmdb/preflight.js';
import { StoreCorruptError, StoreForeignError, StoreUnavailableError } from '#src/errors.js';

const FIXTURES = path.resolve(import.meta.dirname, '../fixtures');
const PAGE = 4_096;
/** Pages of the corpus that are damaged, each in five ways. */
const DAMAGED_PAGES = 16 * Number(process.env.MODEL_RUNS ?? 1);

let root: string;
let sound: Buffer;

function store(name: string, ...options: string[]): string {
  const file = path.join(root, name);
  const { status, stderr } = spawnSync(process.execPath, [
    path.join(FIXTURES, 'lmdb-write.mjs'),
    file,
    ...options,
  ]);
  expect(status, String(stderr)).toBe(0);
  return file;
}

function written(name: string, bytes: Uint8Array): string {
  const file = path.join(root, name);
  fs.writeFileSync(file, bytes);
  return file;
}

function changed(change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(sound);
  change(bytes);
  return bytes;
}

/** The error class that refuses the bytes, or undefined when they pass. */
function verdict(name: string, bytes: Uint8Array): unknown {
  try {
    preflight(written(name, bytes));
    return undefined;
  } catch (error) {
    return (error as Error).constructor;
  }
}

/** Numbers in [0, below), the same in every run. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

beforeAll(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-preflight-'));
  sound = fs.readFileSync(store('sound.mdb', '300', '6'));
});

afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

describe('a sound file', { timeout: 30_000 }, () => {
  it('passes when it is new, when it is some MB, and when it does not exist yet', () => {
    preflight(store('new.mdb', '0', '0'));
    const grown = store('grown.mdb', '2000', '4');
    expect(fs.statSync(grown).size).toBeGreaterThan(4_000_000);
    preflight(grown, { committed: true });
    preflight(path.join(root, 'none.mdb'));
  });

  it('passes when it is shorter than its last page number says, for the pages that lack are free', () => {
    const file = store('short.mdb', '50', '40', 'short');
    const bytes = fs.readFileSync(file);
    const [first, second] = [bytes, bytes.subarray(PAGE)];
    const newest = first.readBigUInt64LE(152) > second.readBigUInt64LE(152) ? first : second;
    expect(bytes.length).toBeLessThan((Number(newest.readBigUInt64LE(144)) + 1) * PAGE);
    preflight(file, { committed: true });
  });

  it('passes when it is longer, by pages or by parts of pages of a commit that did not end', () => {
    for (const tail of [1, 700, PAGE, PAGE * 3 + 11]) {
      expect(verdict('longer.mdb', Buffer.concat([sound, Buffer.alloc(tail, 0xab)]))).toBeUndefined();
    }
  });

  it('passes whenever its writer is killed, twelve times in a row', async () => {
    const file = path.join(root, 'killed.mdb');
    for (let kill = 0; kill < 12; kill++) {
      const writer = spawn(process.execPath, [path.join(FIXTURES, 'lmdb-write.mjs'), file, '120', 'forever']);
      for await (const line of readline.createInterface({ input: writer.stdout })) {
        if (Number(line) > kill) break;
      }
      const gone = once(writer, 'exit');
      writer.kill('SIGKILL');
      expect(await gone).toEqual([null, 'SIGKILL']);
      preflight(file, { committed: true });
    }
  });
});

describe('a damaged file', () => {
  it('is refused as corrupt when it is empty', () => {
    expect(() => preflight(written('empty.mdb', Buffer.alloc(0)))).toThrow(StoreCorruptError);
    expect(() => preflight(written('empty.mdb', Buffer.alloc(0)))).toThrow(/empty/);
  });

  it('is refused as corrupt when it should hold commits and is missing, or holds none', () => {
    const committed = { committed: true };
    expect(() => preflight(path.join(root, 'none.mdb'), committed)).toThrow(StoreCorruptError);
    expect(() => preflight(written('zero.mdb', sound.subarray(0, 0)), committed)).toThrow(StoreCorruptError);
    const never = path.join(root, 'never.mdb');
    const opened = `await (await import('lmdb')).open(${JSON.stringify(never)}, { noSubdir: true }).close();`;
    spawnSync(process.execPath, ['--input-type=module', '-e', opened], { cwd: FIXTURES });
    preflight(never);
    expect(() => preflight(never, committed)).toThrow(StoreCorruptError);
  });

  it('is refused as corrupt when a page in use is cut off, be it the last', () => {
    const file = store('whole.mdb', '40', '1');
    const bytes = fs.readFileSync(file);
    const lengths = Array.from({ length: bytes.length / PAGE - 1 }, (_, pages) => (pages + 1) * PAGE);
    const passed = lengths.filter((length) => verdict('cut.mdb', bytes.subarray(0, length)) === undefined);
    expect(verdict('cut.mdb', bytes.subarray(0, 2 * PAGE))).toBe(StoreCorruptError);
    expect(lengths.length - passed.length).toBeGreaterThan(10);
    // Only a tail of free pages may go, and what passes is a run at the end.
    expect(passed).toEqual(lengths.slice(lengths.length - passed.length));
  });

  it('is refused as corrupt when two trees share a page', () => {
    const bytes = changed((copy) => {
      for (const meta of [0, PAGE]) copy.copy(copy, meta + 88, meta + 136, meta + 144);
    });
    expect(verdict('shared.mdb', bytes)).toBe(StoreCorruptError);
  });
});

describe('a file of another kind', () => {
  it('is refused as foreign when its byte order, version or mode is another', () => {
    const swapped = changed((bytes) => bytes.subarray(0, PAGE * 2).swap32());
    const version = changed((bytes) => bytes.writeUInt16LE(1, 28));
    const encrypted = changed((bytes) => bytes.writeUInt16LE(bytes.readUInt16LE(52) | 0x2000, 52));
    const older = Buffer.concat([sound.subarray(8, 24), sound.subarray(24)]);
    for (const bytes of [swapped, version, encrypted, older]) {
      expect(verdict('foreign.mdb', bytes)).toBe(StoreForeignError);
    }
  });

  it('is refused as unavailable or foreign when it cannot be read as a file', () => {
    expect(() => preflight(root)).toThrow(StoreForeignError);
    expect(() => preflight(path.join(root, 'sound.mdb', 'data.mdb'))).toThrow(StoreUnavailableError);
  });
});

describe('a corpus of damaged files', () => {
  it('is refused with a typed error, or opens without harm to the process', { timeout: 60_000 }, () => {
    const random = randomNumbers(20_260_722);
    const passed: string[] = [];
    let refused = 0;
    for (const [name, bytes] of corpus(random)) {
      const error = verdict(name, bytes);
      if (error === undefined) passed.push(path.join(root, name));
      else {
        expect([StoreCorruptError, StoreForeignError], name).toContain(error);
        fs.rmSync(path.join(root, name));
        refused += 1;
      }
    }
    expect(refused + passed.length).toBeGreaterThan(300);
    expect(refused).toBeGreaterThan(200);
    const opener = path.join(FIXTURES, 'lmdb-open.mjs');
    const child = spawnSync(process.execPath, [opener], { input: `${passed.join('\n')}\n` });
    const lines = String(child.stdout).trim().split('\n').slice(-2).join(' ');
    expect([child.status, child.signal], `${lines} ${child.stderr}`).toEqual([0, null]);
    expect(String(child.stdout).match(/outcome/g)).toHaveLength(passed.length);
    console.log(
      `${refused + passed.length} damaged files: ${refused} refused, ${passed.length} opened without harm`,
    );
  });
});

function* corpus(random: (below: number) => number): Generator<[name: string, bytes: Uint8Array]> {
  const pages = sound.length / PAGE;
  const edges = [0, 1, 24, 100, 167, 168, 4_095, 4_096, 4_097, 4_264, 8_191, 8_192, 8_193, 12_288];
  for (const length of edges) yield [`cut-${length}`, sound.subarray(0, length)];
  for (let index = 0; index < 80; index++) {
    const length = random(sound.length);
    yield [`cut-${index}-${length}`, sound.subarray(0, length)];
  }
  for (const length of [1, 167, 168, 4_096, 8_192, 50_000, 200_000]) {
    yield [`noise-${length}`, noise(random, length)];
    yield [`zeros-${length}`, Buffer.alloc(length)];
  }
  yield* headers();
  for (let index = 0; index < DAMAGED_PAGES; index++) {
    const page = 2 + random(pages - 2);
    const [at, from] = [page * PAGE, random(pages) * PAGE];
    yield [`noise-on-page-${index}`, changed((copy) => copy.set(noise(random, PAGE), at))];
    yield [`zeros-on-page-${index}`, changed((copy) => copy.fill(0, at, at + PAGE))];
    yield [`other-on-page-${index}`, changed((copy) => copy.copyWithin(at, from, from + PAGE))];
    yield [`noise-in-page-head-${index}`, changed((copy) => copy.set(noise(random, 8), at + random(64)))];
    yield [
      `noise-anywhere-${index}`,
      changed((copy) => copy.set(noise(random, 16), random(copy.length - 16))),
    ];
  }
}

/** Each field of the two meta pages, with values that mean trouble. */
function* headers(): Generator<[name: string, bytes: Uint8Array]> {
  for (const meta of [0, PAGE]) {
    for (const at of [0, 18, 24, 28, 48, 52, 54, 88, 96, 100, 102, 136, 144, 148, 152, 156]) {
      for (const value of [0, 1, 3, 0x7fff_ffff, 0xffff_ffff]) {
        yield [`field-${meta + at}-${value}`, changed((bytes) => bytes.writeUInt32LE(value, meta + at))];
      }
    }
  }
  for (const size of [0, 1, 255, 256, 512, 1_000, 2_048, 8_192, 65_536, 131_072]) {
    const both = (bytes: Buffer) => [0, PAGE].map((meta) => bytes.writeUInt32LE(size, meta + 48));
    yield [`page-size-${size}`, changed(both)];
  }
}

function noise(random: (below: number) => number, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random(256)));
}
