/**
 * When a process started, as a text to compare: a process id alone may have been given to another process
 * since.
 *
 * It refuses to be a proof of life: containers number their processes on their own. The socket is that proof.
 */

import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { promisify } from 'node:util';

const PS_TIMEOUT_MS = 2_000;

/**
 * The start of process `pid` on this machine; `undefined` when there is no such process, or the system is
 * silent.
 */
export async function processStart(pid: number): Promise<string | undefined> {
  try {
    if (process.platform === 'linux') return linuxStart(pid);
    if (process.platform === 'win32') return undefined;
    const { stdout } = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)], {
      timeout: PS_TIMEOUT_MS,
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
    });
    return stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}

/**
 * The boot, and clock ticks since that boot: field 22 of `/proc/<pid>/stat`, counted behind the name in
 * brackets.
 */
function linuxStart(pid: number): string | undefined {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  const boot = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return ticks === undefined ? undefined : `${boot}/${ticks}`;
}
