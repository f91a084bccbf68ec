/**
 * What `openManifest` makes of a folder: a store of ours, a new one, or a typed refusal; never an empty store
 * by mistake.
 */

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { markInitialised, openManifest, STORE_FORMAT } from '#src/broker/lmdb/manifest.js';
import { ManualClock } from '#src/clock.js';
import {
  StoreCorruptError,
  StoreForeignError,
  StoreTooNewError,
  StoreUnavailableError,
} from '#src/errors.js';

let folder: string;
const at = (name: string) => path.join(folder, name);
const stored = () => JSON.parse(fs.readFileSync(at('manifest.json'), 'utf8'));
const rewrite = (change: object) =>
  fs.writeFileSync(at('manifest.json'), JSON.stringify({ ...stored(), ...change }));

/** A store that has had its first commit; preflight is not concerned here, so any bytes will do. */
function used(): void {
  openManifest(folder);
  fs.writeFileSync(at('data.mdb'), 'data');
  markInitialised(folder);
}

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-manifest-'));
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

describe('a folder without a store', () => {
  it('becomes a store with an identity, a format and a time, and stays that store', () => {
    const clock = new ManualClock();
    const made = openManifest(folder, clock);
    expect(made).toEqual({
      storeId: expect.stringMatching(/^[0-9a-f]{16}$/),
      format: STORE_FORMAT,
      createdAt: clock.now(),
      fresh: true,
    });
    expect(openManifest(folder)).toEqual(made);
    expect(fs.readdirSync(folder)).toEqual(['manifest.json']);
  });

  it('is fresh until its first commit was recorded', () => {
    const { storeId } = openManifest(folder);
    fs.writeFileSync(at('data.mdb'), 'data');
    markInitialised(folder);
    markInitialised(folder);
    expect(openManifest(folder)).toMatchObject({ storeId, fresh: false });
  });

  it('may hold other files, and the remains of a manifest that was not finished', () => {
    fs.writeFileSync(at('notes.txt'), '');
    fs.writeFileSync(at('manifest.json.tmp'), '{"ki');
    expect(openManifest(folder).fresh).toBe(true);
    expect(fs.readdirSync(folder).sort()).toEqual(['manifest.json', 'notes.txt']);
  });

  it('is refused as foreign when it holds an LMDB file', () => {
    for (const name of ['data.mdb', 'lock.mdb', 'cache.mdb', 'data.mdb-lock']) {
      fs.writeFileSync(at(name), '');
      expect(() => openManifest(folder)).toThrow(StoreForeignError);
      fs.rmSync(at(name));
    }
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  it('is refused as unavailable when it does not exist', () => {
    expect(() => openManifest(at('none'))).toThrow(StoreUnavailableError);
  });
});

describe('a store that died before its first commit', () => {
  it('is rid of a data file that was never whole, since nothing can have been acknowledged', () => {
    openManifest(folder);
    const header = Buffer.alloc(4_096);
    header.writeUInt32LE(4_096, 48);
    for (const stump of [Buffer.alloc(0), header, Buffer.alloc(8_192), Buffer.alloc(100)]) {
      fs.writeFileSync(at('data.mdb'), stump);
      expect(openManifest(folder).fresh).toBe(true);
      expect(fs.existsSync(at('data.mdb'))).toBe(false);
    }
  });

  it('keeps a data file that is whole', () => {
    openManifest(folder);
    const whole = Buffer.alloc(8_192);
    whole.writeUInt32LE(4_096, 48);
    fs.writeFileSync(at('data.mdb'), whole);
    openManifest(folder);
    expect(fs.statSync(at('data.mdb')).size).toBe(8_192);
  });
});

describe('a store in use', () => {
  it('is corrupt, and not empty, when its data file is missing', () => {
    used();
    fs.rmSync(at('data.mdb'));
    expect(() => openManifest(folder)).toThrow(StoreCorruptError);
    expect(fs.readdirSync(folder)).toEqual(['manifest.json']);
  });

  it('is corrupt when its manifest is damaged', () => {
    used();
    const whole = fs.readFileSync(at('manifest.json'));
    for (const text of ['', '{', 'null', '7', '"x"', whole.subarray(0, 40)]) {
      fs.writeFileSync(at('manifest.json'), text);
      expect(() => openManifest(folder)).toThrow(StoreCorruptError);
    }
    for (const change of [
      { format: 0 },
      { format: '1' },
      { storeId: 'x' },
      { createdAt: null },
      { initialised: 1 },
    ]) {
      fs.writeFileSync(at('manifest.json'), whole);
      rewrite(change);
      expect(() => openManifest(folder)).toThrow(StoreCorruptError);
    }
  });

  it('is refused as too new when a newer version wrote it, whatever its other fields are then', () => {
    used();
    rewrite({ format: STORE_FORMAT + 1, storeId: { of: 'another kind' } });
    expect(() => openManifest(folder)).toThrow(StoreTooNewError);
  });

  it('is refused as foreign when its manifest is that of something else, or gone', () => {
    used();
    fs.writeFileSync(at('manifest.json'), '{"name":"a web page","icons":[]}');
    expect(() => openManifest(folder)).toThrow(StoreForeignError);
    fs.rmSync(at('manifest.json'));
    expect(() => openManifest(folder)).toThrow(StoreForeignError);
  });
});
