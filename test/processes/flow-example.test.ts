/** The example of a flow, as a user runs it. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { freshStore } from './members.js';

const PAGES = ['The miller', 'The race', 'The wheel', 'The stones'];
const seal = (...parts: readonly string[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

it('the example of a flow binds what its pages gave, in their order', { timeout: 60_000 }, async () => {
  const example = resolve('dist/examples/05-flow.js');
  const { stdout } = await promisify(execFile)(process.execPath, [example, freshStore()]);
  const book = seal('On mills', ...PAGES.map((page) => seal(page)));
  expect(stdout.split('\n')[0]).toBe(`7-${book.slice(0, 8)}`);
  expect(stdout).toMatch(/state: 'completed'/);
  expect(stdout).toMatch(/completed: 6/);
});
