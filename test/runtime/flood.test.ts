/** A producer that is faster than the threads does not fill the memory: it is held up instead. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { fixture } from './harness.js';

const FEW = 2_000;
const MANY = 20_000;
const MAX_BYTES_MORE = 5e6;

it(`of ${MANY} items takes less than 5 MB more than one of ${FEW}`, { timeout: 120_000 }, async () => {
  const child = [fixture('flood-child').pathname, String(FEW), String(MANY)];
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', ...child]);
  const peaks = JSON.parse(stdout) as Record<string, [few: number, many: number]>;
  expect(Object.keys(peaks)).toEqual(['throughMap', 'throughStream']);
  for (const [name, [few, many]] of Object.entries(peaks)) {
    console.log(`${name}: ${(few / 1e6).toFixed(1)} MB, ten times the items ${(many / 1e6).toFixed(1)} MB`);
    expect(many - few, name).toBeLessThan(MAX_BYTES_MORE);
  }
});
