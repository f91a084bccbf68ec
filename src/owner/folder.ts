/** The data folder itself: made when it is missing, durably, and known by one path. */
import fs from 'node:fs';
import { dirname, resolve } from 'node:path';
import { errnoOf, syncFolder } from './durable-file.js';

/** @returns the folder's one true path: two spellings of a folder must lead to the same sockets. */
export function prepareFolder(folder: string): string {
  makeFolder(resolve(folder));
  const real = fs.realpathSync(folder);
  fs.readdirSync(real); // a file, or a folder we may not read, fails before anything is made in it
  return real;
}

/**
 * Makes the folder and those above it; each new name is flushed, to outlive a power loss.
 *
 * Not `mkdirSync` with `recursive`: under `/proc`, where nothing can be made, that never returns (Node
 * 20.20).
 */
function makeFolder(path: string): void {
  if (fs.existsSync(path)) return;
  if (!fs.existsSync(dirname(path))) makeFolder(dirname(path));
  try {
    fs.mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST' && fs.existsSync(path)) return; // another starter was faster
    throw error;
  }
  syncFolder(dirname(path));
}
