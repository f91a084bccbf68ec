/**
 * An owner without threads: a client that found nobody in the folder accepts tasks for whoever comes to run
 * them, by the rules that the last runtime has left, and yields when a runtime asks.
 */

import type { Backend } from './broker/broker.js';
import { type BackendLocation, openBackend } from './broker/open.js';
import { UnsupportedError } from './errors.js';
import { loadManifest } from './manifest.js';
import type { CheckedClientOptions, RuntimeOptions } from './options/types.js';
import { validateRuntimeOptions } from './options.js';
import type { Ownership } from './owner/ownership.js';
import { NoPool } from './pool/no-pool.js';
import { Server } from './remote/server.js';
import { Coordinator } from './run/coordinator.js';
import { LocalDesk } from './run/local-desk.js';
import type { RunningItem } from './run/running-item.js';
import { Stopping } from './run/stopping.js';
import type { Post } from './standby.js';
import type { Codec } from './task/codec.js';

export interface CaretakerSetup {
  readonly location: BackendLocation;
  readonly options: Pick<CheckedClientOptions, 'clock' | 'logger'>;
  readonly codecs: ReadonlyMap<string, Codec>;
}

/** @throws (rejects) as {@link openBackend}; the ownership is released then. */
export async function takeCare(setup: CaretakerSetup, ownership: Ownership): Promise<Post> {
  const { location, codecs, options } = setup;
  const { clock, logger } = options;
  const defaults = validateRuntimeOptions(
    { backend: location.path, tasks: 'none', clock, logger },
    { threads: () => 1, clock, logger },
  );
  const { maxBytes, minFreeBytes } = defaults;
  // Filled in when the store can be read.
  const space = { maxBytes, minFreeBytes };
  const backend = await openBackend(location, {
    ...{ ifLocked: 'fail', limits: defaults, space, clock, logger, ownership },
  });
  try {
    const { handlers, queues, limits, rules } = await loadManifest(backend.keyValue);
    Object.assign(space, limits);
    const pool = new CaretakerPool();
    const known: RuntimeOptions = { ...defaults, ...limits, queues, limits: rules };
    const parts = { backend, pool, options: known };
    const coordinator = new Coordinator({ ...parts, codecs, runsNothing: false });
    coordinator.setHandlers(handlers);
    const desk = new LocalDesk({ ...parts, coordinator, isCaretaker: true });
    await desk.load();
    return openPost(backend, desk, coordinator, pool, known);
  } catch (error) {
    await backend.close();
    throw error;
  }
}

function openPost(
  backend: Backend,
  desk: LocalDesk,
  coordinator: Coordinator,
  pool: CaretakerPool,
  options: RuntimeOptions,
): Post {
  let giveUp: () => void = () => {};
  const over = new Promise<void>((resolve) => {
    giveUp = resolve;
  });
  void firstOf(desk.events({ kinds: ['fenced'] })).then(giveUp);
  const server = new Server({ desk, coordinator, options, role: 'caretaker', yieldAsked: () => giveUp() });
  backend.door?.onConnection((socket) => server.accept(socket));
  const stopping = new Stopping({ backend, pool, coordinator });
  return {
    ...{ desk, over },
    close: async () => void (await stopping.stop({ graceMs: 0, killMs: 0 })),
  };
}

/** Also when there is none. */
async function firstOf(events: AsyncIterableIterator<unknown>): Promise<void> {
  await events.next();
  await events.return?.();
}

class CaretakerPool extends NoPool<RunningItem> {
  override resize(): Promise<void> {
    return Promise.reject(new UnsupportedError('resize', 'no runtime has the folder open'));
  }
}
