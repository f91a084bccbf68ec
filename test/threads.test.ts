/** The number of threads, on machines made of files. */

import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import { defaultThreads } from '#src/threads.js';

const V2 = '/sys/fs/cgroup';
const CPU = '/sys/fs/cgroup/cpu';
const own = (text: string) => ({ '/proc/self/cgroup': text });
const v1 = (folder: string, quota: string, period = '100000\n') => ({
  [`${folder}/cpu.cfs_quota_us`]: quota,
  [`${folder}/cpu.cfs_period_us`]: period,
});

const CASES: readonly [string, number, Readonly<Record<string, string>>, number][] = [
  ['no control groups', 8, {}, 8],
  ['no limit', 8, { ...own('0::/\n'), [`${V2}/cpu.max`]: 'max 100000\n' }, 8],
  ['a quota of 2 processors', 8, { ...own('0::/\n'), [`${V2}/cpu.max`]: '200000 100000\n' }, 2],
  ['a quota of 1.5, rounded up', 8, { ...own('0::/\n'), [`${V2}/cpu.max`]: '150000 100000\n' }, 2],
  ['a quota of 0.1', 8, { ...own('0::/\n'), [`${V2}/cpu.max`]: '10000 100000\n' }, 1],
  ['a quota above the processors', 2, { ...own('0::/\n'), [`${V2}/cpu.max`]: '800000 100000\n' }, 2],
  ['a quota of the own group', 8, { ...own('0::/a/b\n'), [`${V2}/a/b/cpu.max`]: '300000 100000\n' }, 3],
  [
    'a tighter quota of a parent',
    8,
    { ...own('0::/a/b\n'), [`${V2}/a/b/cpu.max`]: 'max 100000\n', [`${V2}/a/cpu.max`]: '100000 50000\n' },
    2,
  ],
  [
    "a host's path seen in a container",
    8,
    { ...own('0::/../../x\n'), [`${V2}/cpu.max`]: '400000 100000\n' },
    4,
  ],
  [
    'version 2 beside version 1',
    8,
    { ...own('1:name=systemd:/\n0::/\n'), [`${V2}/unified/cpu.max`]: '300000 100000\n' },
    3,
  ],
  ['version 1 without limit', 8, { ...own('4:cpu,cpuacct:/\n'), ...v1(CPU, '-1\n') }, 8],
  ['version 1 with a quota', 8, { ...own('2:memory:/x\n4:cpu,cpuacct:/\n'), ...v1(CPU, '250000\n') }, 3],
  [
    'version 1 under its joint name',
    8,
    { ...own('4:cpu,cpuacct:/d\n'), ...v1(`${V2}/cpu,cpuacct/d`, '100000\n') },
    1,
  ],
  ['version 1, a path of the host', 8, { ...own('4:cpu:/docker/abc\n'), ...v1(CPU, '200000\n') }, 2],
  [
    'a group with a colon in its name',
    8,
    { ...own('0::/a:b\n'), [`${V2}/a:b/cpu.max`]: '200000 100000\n' },
    2,
  ],
  ['files that make no sense', 8, { ...own('x\n::\n0::/\n'), [`${V2}/cpu.max`]: 'a b c\n' }, 8],
  ['a quota of nothing', 8, { ...own('0::/\n'), [`${V2}/cpu.max`]: '0 0\n' }, 8],
  ['more processors than threads are allowed', 4_096, {}, 1_024],
  ['no processors', 0, {}, 1],
];

describe('defaultThreads', () => {
  for (const [what, processors, files, expected] of CASES) {
    it(`with ${what} and ${processors} processors is ${expected}`, () => {
      const machine = { parallelism: () => processors, read: (path: string) => files[path] };
      expect(defaultThreads(machine)).toBe(expected);
    });
  }

  it('looks at a bounded number of folders', () => {
    let reads = 0;
    const read = (path: string) => {
      reads++;
      return path === '/proc/self/cgroup' ? `0::/${'a/'.repeat(10_000)}\n` : undefined;
    };
    expect(defaultThreads({ parallelism: () => 4, read })).toBe(4);
    expect(reads).toBeLessThan(100);
  });

  it('is within bounds here', () => {
    const threads = defaultThreads();
    expect(threads).toBeGreaterThanOrEqual(1);
    expect(threads).toBeLessThanOrEqual(availableParallelism());
  });
});
