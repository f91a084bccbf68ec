/** The example of a stream, as a user runs it. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'millrace-stream-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('counts the words of a file that is read in many chunks', async () => {
  const file = join(folder, 'text');
  const lines = Array.from(
    { length: 40_000 },
    (_, at) => `mill race ${at % 4 === 0 ? 'mill' : 'Wasser über'}`,
  );
  writeFileSync(file, lines.join('\n'));
  const example = resolve('dist/examples/06-stream.js');
  const { stdout } = await promisify(execFile)(process.execPath, [example, file, join(folder, 'data')]);
  expect(stdout).toBe('50000 mill\n40000 race\n30000 wasser\n30000 über\n');
});
