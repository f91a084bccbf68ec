/**
 * How many threads this process may use: the smaller of the processors it sees and the share of them that its
 * container is allowed. Reads Linux control groups, version 2 and 1; elsewhere the processors decide alone.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { MAX_THREADS } from './options/task-table.js';

/** What is asked of the machine; replaced in tests. */
export interface Machine {
  parallelism(): number;
  /** Text of a small file; `undefined` when it cannot be read. */
  read(path: string): string | undefined;
}

const realMachine: Machine = {
  parallelism: availableParallelism,
  read(path) {
    try {
      return readFileSync(path, 'latin1');
    } catch {
      return undefined;
    }
  },
};

/** Levels of control groups looked at, from the process up to the root. */
const MAX_DEPTH = 32;

const V2_MOUNTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'] as const;
const V1_MOUNTS = ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup/cpu,cpuacct'] as const;

/**
 * Threads to run when none are asked for.
 *
 * @returns  1 to 1024: min(processors, processor quota rounded up).
 * @source  Linux, "Control Group v2", cpu.max; "CFS Bandwidth Control", cpu.cfs_quota_us.
 */
export function defaultThreads(machine: Machine = realMachine): number {
  const quota = Math.ceil(cgroupQuota(machine));
  return Math.max(1, Math.min(machine.parallelism(), quota, MAX_THREADS));
}

/** Processors' worth of time this process may use, Infinity for no limit. A parent's binds its children. */
function cgroupQuota(machine: Machine): number {
  let least = Infinity;
  for (const line of (machine.read('/proc/self/cgroup') ?? '').split('\n')) {
    // hierarchy:controllers:path; version 2 has hierarchy 0 and names no controllers
    const [, hierarchy, controllers, path] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined || controllers === undefined) continue;
    if (hierarchy === '0' && controllers === '') {
      for (const folder of folders(V2_MOUNTS, path)) least = Math.min(least, quotaV2(machine, folder));
    } else if (controllers.split(',').includes('cpu')) {
      for (const folder of folders(V1_MOUNTS, path)) least = Math.min(least, quotaV1(machine, folder));
    }
  }
  return least;
}

/** The group's folder and all above. In a container the path may be the host's; then only the root exists. */
function folders(mounts: readonly string[], path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  const isInside = parts.length <= MAX_DEPTH && !parts.includes('..');
  const depth = isInside ? parts.length : 0;
  return mounts.flatMap((mount) =>
    Array.from({ length: depth + 1 }, (_, kept) => [mount, ...parts.slice(0, kept)].join('/')),
  );
}

/** `cpu.max` holds "quota period", the quota being `max` for none. */
function quotaV2(machine: Machine, folder: string): number {
  const [quota, period] = (machine.read(`${folder}/cpu.max`) ?? '').trim().split(' ');
  return share(quota, period);
}

/** Two files; the quota is -1 for none. */
function quotaV1(machine: Machine, folder: string): number {
  return share(machine.read(`${folder}/cpu.cfs_quota_us`), machine.read(`${folder}/cpu.cfs_period_us`));
}

function share(quota: string | undefined, period: string | undefined): number {
  const processors = Number(quota) / Number(period);
  return processors > 0 ? processors : Infinity;
}
