/** From what the user wrote to a backend: the only place, beside the runtime, that names an adapter. */
import { fileURLToPath } from 'node:url';
import type { Clock } from '../clock.js';
import { InvalidArgumentError } from '../errors.js';
import type { Logger } from '../logger.js';
import type { Ownership } from '../owner/ownership.js';
import type { Backend } from './broker.js';

/** How tasks run on a backend: by threads, on the host's own thread, or not at all. */
export type Execution = 'threads' | 'same-thread' | 'none';

export interface BackendLocation {
  readonly scheme: 'lmdb' | 'memory';
  /** The folder of `lmdb`. */
  readonly path: string;
  readonly execution: Execution;
}

const PLANNED = ['sqlite', 'redis', 'rediss', 'postgres', 'postgresql', 'amqp', 'amqps', 'nats'];

/** @throws {InvalidArgumentError} when no backend of this scheme exists. */
export function parseBackend(backend: string | URL): BackendLocation {
  const text = backend instanceof URL ? backend.href : backend;
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1]?.toLowerCase();
  switch (scheme) {
    case undefined:
      return { scheme: 'lmdb', path: text, execution: 'threads' };
    case 'lmdb':
      return { scheme: 'lmdb', path: checkPath(text.slice('lmdb:'.length)), execution: 'threads' };
    case 'file':
      return { scheme: 'lmdb', path: fileURLToPath(text), execution: 'threads' };
    case 'memory':
      return { scheme: 'memory', path: '', execution: 'threads' };
    case 'immediate':
      return { scheme: 'memory', path: '', execution: 'same-thread' };
    case 'dummy':
      return { scheme: 'memory', path: '', execution: 'none' };
    default: {
      const known = 'a folder, lmdb:<folder>, memory:, immediate: or dummy:';
      if (PLANNED.includes(scheme))
        throw new InvalidArgumentError('options.backend', `${known} (${scheme}: is planned)`);
      throw new InvalidArgumentError('options.backend', known, text);
    }
  }
}

export interface OpenBackendOptions {
  readonly ifLocked: 'fail' | 'wait';
  readonly limits: { readonly maxPendingEnqueues: number; readonly maxPendingBytes: number };
  readonly space: { readonly maxBytes: number; readonly minFreeBytes: number };
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal?: AbortSignal;
  /** Of the folder, when it was won before. */
  readonly ownership?: Ownership;
}

export async function openBackend(location: BackendLocation, options: OpenBackendOptions): Promise<Backend> {
  const { clock, limits, logger } = options;
  const now = (): number => clock.now();
  if (location.scheme === 'memory') {
    const { openMemory } = await import('./memory.js');
    return openMemory({ limits, now });
  }
  const { openLmdb } = await loadLmdb();
  return openLmdb({
    folder: location.path,
    ifLocked: options.ifLocked,
    limits,
    space: options.space,
    now,
    onCorrupt: (error) =>
      logger.error({ error: error.message }, 'a stored row is damaged and was passed over'),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.ownership === undefined ? {} : { ownership: options.ownership }),
  });
}

/** Adapters are loaded when they are needed, so that importing the package is quick; or a while before. */
export function loadLmdb() {
  return import('./lmdb/lmdb.js');
}

function checkPath(path: string): string {
  const plain = path.startsWith('//') ? path.slice(2) : path;
  if (plain === '') throw new InvalidArgumentError('options.backend', 'lmdb: followed by a folder');
  return plain;
}
