/**
 * Chooses what executes handlers, and turns the modules that the user named into URLs before anything is
 * opened.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Blobs } from '../broker/blobs.js';
import { TasksModuleError } from '../errors.js';
import type { ModuleLocation, RuntimeOptions } from '../options/types.js';
import { NoPool } from './no-pool.js';
import type { Pool } from './pool.js';

/** @throws {TasksModuleError} when a file does not exist. */
export function modulesOf(locations: readonly ModuleLocation[]): string[] {
  return locations.map((location) => {
    const url =
      typeof location === 'string' && !/^[a-z]{2,}:/i.test(location)
        ? pathToFileURL(resolve(location))
        : location;
    const { href, protocol } = new URL(url);
    if (protocol !== 'file:') throw new TasksModuleError(href, 'only files can be loaded');
    if (!existsSync(fileURLToPath(href))) throw new TasksModuleError(href, 'no such file');
    return href;
  });
}

/** Pools are loaded here and not before, so that importing the package is quick. */
export async function openPool<Token>(
  execution: 'threads' | 'same-thread' | 'none',
  modules: readonly string[],
  options: RuntimeOptions,
  blobs: () => Blobs | undefined,
): Promise<Pool<Token>> {
  const { clock, services, maxResultBytes, maxBufferBytes, logger } = options;
  const common = { modules, clock, services, maxResultBytes, maxBufferBytes, logger };
  if (execution === 'none') return new NoPool<Token>();
  if (execution === 'same-thread') {
    const { createSameThreadPool } = await import('./same-thread.js');
    return createSameThreadPool<Token>(common);
  }
  const { createThreadPool } = await import('./thread-pool.js');
  const { threads, execArgv, resourceLimits, env, recycle } = options;
  return createThreadPool<Token>({
    ...common,
    blobs,
    threads,
    recycle,
    ...(execArgv === undefined ? {} : { execArgv }),
    ...(resourceLimits === undefined ? {} : { resourceLimits }),
    ...(env === undefined ? {} : { env }),
  });
}
