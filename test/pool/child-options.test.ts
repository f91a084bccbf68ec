/** What a child process is started with. */
import { describe, expect, it } from 'vitest';
import { nodeOptionsOf } from '#src/pool/child-options.js';

describe('the Node options of a child', () => {
  const CASES: readonly [string, readonly string[], readonly string[]][] = [
    [
      'are those of its host',
      ['--enable-source-maps', '--import', './x.js'],
      ['--enable-source-maps', '--import', './x.js'],
    ],
    ['are not its script', ['--input-type=module', '-e', 'run()', '--no-warnings'], ['--no-warnings']],
    ['are not its script in words', ['--input-type', 'module', '--eval', 'run()', '-p', '1'], []],
    ['are not its debugger', ['--inspect-brk=9229', '--inspect', '--inspect-port', '9230', '-i'], []],
    ['are not its test runner', ['--test', '--test-concurrency=2', '--watch', '--watch-path', 'a'], []],
    [
      'keep what only begins alike',
      ['--prof', '--experimental-vm-modules'],
      ['--prof', '--experimental-vm-modules'],
    ],
  ];
  for (const [what, ofHost, expected] of CASES) {
    it(what, () => expect(nodeOptionsOf({}, ofHost)).toEqual(expected));
  }

  it('are those given, as they are', () => {
    expect(nodeOptionsOf({ execArgv: ['--inspect=0'] }, ['--no-warnings'])).toEqual(['--inspect=0']);
    expect(nodeOptionsOf({ execArgv: [] }, ['--no-warnings'])).toEqual([]);
  });

  it('carry the limits of the heap', () => {
    const resourceLimits = { maxOldGenerationSizeMb: 100, maxYoungGenerationSizeMb: 24, stackSizeMb: 4 };
    expect(nodeOptionsOf({ resourceLimits }, [])).toEqual([
      '--max-old-space-size=100',
      '--max-semi-space-size=8',
    ]);
  });
});
