/**
 * A runtime for a test over the fixture `runtime-tasks`, in memory or in a folder of its own; nothing is left
 * behind.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach } from 'vitest';
import { Access } from '#src/access.js';
import {
  type Client,
  type ClientOptions,
  type EventFilter,
  type MillraceError,
  type OpenOptions,
  openClient,
  openRuntime,
  type Runtime,
  type RuntimeEvent,
} from '#src/index.js';
import { silentLogger } from '#src/logger.js';
import type * as tasks from '../fixtures/runtime-tasks.js';

/**
 * What most tests run on; a test that needs a restart takes `lmdb` alone. With `client`, what can be asked of
 * a runtime is asked by a client over its socket.
 */
export const BACKENDS = ['memory', 'lmdb', 'client'] as const;
/** For what a client has no part in: threads, deadlines, order, and the end of the runtime. */
export const RUNTIMES = ['memory', 'lmdb'] as const;
export type BackendKind = (typeof BACKENDS)[number];
export type TestRuntime = Runtime<typeof tasks>;

const runtimes = new Set<{ stop: Runtime['stop'] }>();
const clients = new Set<Client>();
const folders = new Set<string>();

afterEach(async () => {
  await Promise.all([...clients].map((client) => client.close()));
  clients.clear();
  await Promise.all([...runtimes].map((runtime) => runtime.stop({ graceMs: 0, killMs: 0 })));
  runtimes.clear();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
});

/** The compiled fixture `test/fixtures/<name>.ts`. */
export function fixture(name: string): URL {
  return new URL(`dist/test/fixtures/${name}.js`, pathToFileURL(`${process.cwd()}/`));
}

/** A folder that goes with the test. */
export function freshFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-runtime-'));
  folders.add(folder);
  return folder;
}

/** Where a new store is: nothing is there yet. */
export function freshBackend(kind: BackendKind): string {
  return kind === 'memory' ? 'memory:' : join(freshFolder(), 'store');
}

export type TestOptions = Partial<OpenOptions>;

/** Opens a runtime with two threads; `where` is a kind, or the backend itself. */
export async function open(where: string, options: TestOptions = {}): Promise<TestRuntime> {
  const backend = (BACKENDS as readonly string[]).includes(where)
    ? freshBackend(where as BackendKind)
    : where;
  const runtime = await openRuntime<typeof tasks>({
    backend,
    tasks: fixture('runtime-tasks'),
    threads: 2,
    logger: silentLogger,
    ...options,
  });
  runtimes.add(runtime);
  return where === 'client' ? throughClient(runtime, backend, options) : runtime;
}

/** The runtime with the calls of a client, where it has them. */
async function throughClient(
  runtime: TestRuntime,
  backend: string,
  { codecs }: TestOptions,
): Promise<TestRuntime> {
  const client = await openTestClient(backend, codecs === undefined ? {} : { codecs });
  return new Proxy(runtime, {
    get(_target, key) {
      const isShared = key in Access.prototype || Object.hasOwn(client, key);
      const from = isShared ? client : runtime;
      const member = Reflect.get(from, key);
      return typeof member === 'function' ? member.bind(from) : member;
    },
  });
}

/** A client that goes with the test. */
export async function openTestClient(backend: string, options: Partial<ClientOptions> = {}) {
  const client = await openClient<typeof tasks>({ backend, logger: silentLogger, ...options });
  clients.add(client);
  return client;
}

/** What a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<MillraceError & Record<string, unknown>> {
  try {
    await promise;
  } catch (error) {
    return error as MillraceError & Record<string, unknown>;
  }
  throw new Error('it was fulfilled');
}

/** The first event that `wanted` accepts; listening begins with the call. */
export async function nextEvent<Kind extends RuntimeEvent['kind']>(
  runtime: Pick<Runtime, 'events'>,
  kind: Kind,
  filter: EventFilter = {},
  wanted: (event: Extract<RuntimeEvent, { kind: Kind }>) => boolean = () => true,
): Promise<Extract<RuntimeEvent, { kind: Kind }>> {
  for await (const event of runtime.events({ ...filter, kinds: [kind] })) {
    if (event.kind === kind && wanted(event as Extract<RuntimeEvent, { kind: Kind }>)) return event as never;
  }
  throw new Error(`the runtime stopped before the event '${kind}'`);
}

/** Doors of the host that handlers come to; the test learns who is there and lets them through. */
export class Gate {
  readonly #doors = new Map<string, Door>();
  readonly #inside = new Map<string, { now: number; most: number }>();

  readonly services = {
    gate: (_call: unknown, key: string): Promise<void> => {
      const door = this.#door(key);
      door.count++;
      for (const look of door.looking.splice(0)) look();
      return door.opened;
    },
    enter: (_call: unknown, key: string): void => {
      const inside = this.#at(key);
      inside.now++;
      inside.most = Math.max(inside.most, inside.now);
    },
    leave: (_call: unknown, key: string): void => {
      this.#at(key).now--;
    },
    math: { add: (_call: unknown, a: number, b: number): number => a + b },
  };

  /** Resolves when so many handlers have come to this door. */
  async reached(key: string, count = 1): Promise<void> {
    const door = this.#door(key);
    while (door.count < count) await new Promise<void>((resolve) => door.looking.push(resolve));
  }

  /**
   * Resolves when all messages that are under way now have arrived: some turns of the host's event loop
   * later.
   */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  }

  count(key: string): number {
    return this.#door(key).count;
  }

  open(key: string): void {
    this.#door(key).open();
  }

  /** The most handlers that were between `enter` and `leave` at once. */
  most(key: string): number {
    return this.#at(key).most;
  }

  #door(key: string): Door {
    let door = this.#doors.get(key);
    if (door === undefined) {
      let open!: () => void;
      const opened = new Promise<void>((resolve) => {
        open = resolve;
      });
      door = { count: 0, opened, open, looking: [] };
      this.#doors.set(key, door);
    }
    return door;
  }

  #at(key: string): { now: number; most: number } {
    let inside = this.#inside.get(key);
    if (inside === undefined) {
      inside = { now: 0, most: 0 };
      this.#inside.set(key, inside);
    }
    return inside;
  }
}

interface Door {
  count: number;
  readonly opened: Promise<void>;
  readonly open: () => void;
  readonly looking: (() => void)[];
}
