/**
 * Small files that must be complete on disk before anybody sees their final name: epoch files and the
 * manifest.
 *
 * The caller writes a temporary file with `writeComplete`, gives it its name with `link` or `rename`, and
 * makes that name last with `syncFolder`. This file chooses no names and catches no error that a caller
 * should see.
 */

import fs from 'node:fs';

/** Creates `path` (it must not exist, mode 0600), writes `text` and flushes it to the device. */
export function writeComplete(path: string, text: string): void {
  const descriptor = fs.openSync(path, 'wx', 0o600);
  try {
    fs.writeFileSync(descriptor, text);
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/**
 * Makes names that were created, replaced or removed in `folder` survive a power loss.
 *
 * Windows cannot flush a folder, some file systems refuse to, and a folder above ours may be closed to
 * reading: then the file system's own order has to do.
 */
export function syncFolder(folder: string): void {
  let descriptor: number;
  try {
    descriptor = fs.openSync(folder, fs.constants.O_RDONLY);
  } catch (error) {
    if (process.platform === 'win32' || errnoOf(error) === 'EACCES') return;
    throw error;
  }
  try {
    fs.fsyncSync(descriptor);
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP', 'EPERM', 'EISDIR'].includes(errnoOf(error))) throw error;
  } finally {
    fs.closeSync(descriptor);
  }
}

/** The system's name of an error (`ENOENT`, …), or an empty string when it is not a system error. */
export function errnoOf(error: unknown): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : '';
}

const SENTENCES: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EEXIST: 'it is not a folder',
  ENOTDIR: 'a part of the path is not a folder',
  EISDIR: 'a folder stands where a file should be',
  ENOENT: 'it does not exist',
  ELOOP: 'the symbolic links go in a circle',
  ENAMETOOLONG: 'the path is too long',
  EMFILE: 'this process has too many open files',
  ENFILE: 'the system has too many open files',
  EIO: 'the device reports an error',
};

/** What a system error means, in words and with its code, for `StoreUnavailableError`. */
export function reasonOf(error: unknown): string {
  const code = errnoOf(error);
  const sentence = SENTENCES[code] ?? (error instanceof Error ? error.message : String(error));
  return code === '' ? sentence : `${sentence} (${code})`;
}
