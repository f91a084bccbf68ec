/** The example of a schedule, as a user runs it, and runs it again. */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import { freshStore } from './members.js';

it('the example of a schedule is scheduled once, for three in the night in Berlin', () => {
  const backend = freshStore();
  const run = () =>
    execFileSync(process.execPath, [resolve('dist/examples/03-schedule.js'), backend], { encoding: 'utf8' });
  const [first, second] = [run(), run()];
  const [, next = ''] = /^scheduled (\S+)\nreport of north, \d{4}-\d\d-\d\d\n$/.exec(first) ?? [];
  expect(second).toMatch(/^was scheduled \S+\nreport of north, \d{4}-\d\d-\d\d\n$/);
  const format = new Intl.DateTimeFormat('de-DE', { timeZone: 'Europe/Berlin', timeStyle: 'medium' });
  expect(format.format(new Date(next))).toBe('03:00:00');
  expect(Date.parse(next)).toBeGreaterThan(Date.now() - 60_000);
});
