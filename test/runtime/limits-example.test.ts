/** The example of limits, as a user runs it. */
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { freshFolder } from './harness.js';

it('the example shows that a flood of one tenant does not hold up the others', async () => {
  const example = resolve('dist/examples/04-limits.js');
  const { stdout } = await promisify(execFile)(process.execPath, [example, freshFolder()]);
  const [lone, acme, flood] = stdout.trim().split('\n');
  const before = Number(/^lone: after (\d+) of the flood$/.exec(lone!)?.[1]);
  expect(before).toBeLessThan(30);
  expect(acme).toMatch(/^acme: 60 within its burst, \d+ of the flood by then$/);
  expect(flood).toBe('flood: done, soon after its limit was raised');
});
