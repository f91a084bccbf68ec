/**
 * One owner per data folder, from `takeOwnership` to `release` or to the death of the process.
 *
 * The owner listens on a socket in the folder, and the highest `epoch-N` file names that socket:
 *
 *     read the highest epoch → connect to its socket → connected, or busy      alive: refuse, or wait
 *              ↑                                     → refused, or no socket   dead: contend for N + 1
 *              └────────── lost ←── link `epoch-N+1`, is it the highest? ──→ won: sweep up, own it
 *
 * A contender listens before it links, so an epoch file always names a socket that is listened to or whose
 * owner is gone; `link` fails for all contenders but one. Nobody is taken for dead because of a pid, a clock
 * or a missing answer: a stopped or busy owner is alive. The epoch only grows, also over `release`; whoever
 * writes to the store compares it.
 *
 * An owner that only takes care of the folder (a client without a runtime) is asked to yield. Beyond that
 * this file does not speak over the connections: it hands them to the owner, and to who wants to meet it. It
 * does not guard against a folder shared by several machines, whose sockets cannot see each other.
 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import type net from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../clock.js';
import { InvalidArgumentError, LockedError, MillraceError, StoreUnavailableError } from '../errors.js';
import { frameOf } from '../wire/frames.js';
import { reasonOf } from './durable-file.js';
import * as epochs from './epoch-files.js';
import { prepareFolder } from './folder.js';
import { Patience } from './patience.js';
import { processStart } from './process-start.js';
import { type Answer, ask, listen } from './socket.js';

export interface OwnershipOptions {
  /** While another process, or this one, owns the folder: throw at once, or wait until it is free. */
  readonly ifLocked: 'fail' | 'wait';
  /** Longest wait in milliseconds, 0 or more; without it a wait ends only by `signal`. */
  readonly waitMs?: number | undefined;
  /** What the owner will be; default `runtime`. */
  readonly role?: epochs.OwnerRole | undefined;
  /** Ends the attempt; `takeOwnership` then rejects with its reason. It does not end an ownership. */
  readonly signal?: AbortSignal | undefined;
  /** For tests. */
  readonly clock?: Clock | undefined;
}

export interface Ownership {
  /** Grows by at least one with every owner of the folder, from 1. */
  readonly epoch: number;
  /** The folder without symbolic links: the one spelling to open files by. */
  readonly folder: string;
  /**
   * Called for each connection; until set, connections are accepted and kept waiting, what they send
   * included. A process that waits for the folder connects as well: it sends nothing, and waits for the
   * connection to close.
   */
  onConnection(handler: (socket: net.Socket) => void): void;
  /**
   * Closes the socket, and all connections when what was written to them has gone out; then the folder may be
   * somebody else's. Close the store before.
   */
  release(): Promise<void>;
}

/** Who was found in a folder: its owner, connected; nobody; or nobody, so that it is ours now. */
export type Meeting =
  | { readonly kind: 'owner'; readonly connection: net.Socket; readonly facts: epochs.OwnerFacts }
  | { readonly kind: 'nobody' }
  | { readonly kind: 'ownership'; readonly ownership: Ownership };

/** `take` the folder, `meet` its owner or take it, or only `look` for an owner. */
type Purpose = 'take' | 'meet' | 'look';

/** Races lost in a row before it is a fault of the file system: each needs an owner that came and went. */
const MAX_LOST_RACES = 1_000;
/** Connections at a time, of clients and of starters that wait; further ones are closed. */
const MAX_CONNECTIONS = 2_048;
/** How long a caretaker has to yield to who does not want to wait: it flushes and closes its store. */
const YIELD_MS = 10_000;
/** How long the other ends have to take what was written to them before a release. */
const FAREWELL_MS = 200;
const YIELD = frameOf({ kind: 'yield' });

/**
 * Becomes the owner of `folder`, which is made (mode 0700) when missing.
 *
 * @throws {LockedError} when it is owned and `ifLocked` is `'fail'`, or still is after `waitMs`.
 * @throws {StoreUnavailableError} when there can be no folder, or no socket in it.
 * @throws {StoreCorruptError} when the epoch file does not say who the owner is.
 */
export async function takeOwnership(folder: string, options: OwnershipOptions): Promise<Ownership> {
  validate(folder, options);
  const met = await explained(folder, options, () => meet(folder, options, 'take'));
  assert(met.kind === 'ownership');
  return met.ownership;
}

/**
 * Meets the owner of `folder`, or becomes it when there is none. A caretaker that is met by who wants to be a
 * runtime is asked to yield, and waited for.
 *
 * @param purpose  `look` takes nothing.
 * @returns  The connection is the caller's to close.
 * @throws {StoreUnavailableError} {@link StoreCorruptError} as {@link takeOwnership}.
 */
export function meetOwner(
  folder: string,
  options: Omit<OwnershipOptions, 'ifLocked' | 'waitMs'>,
  purpose: 'meet' | 'look' = 'meet',
): Promise<Meeting> {
  const waiting = { ...options, ifLocked: 'wait' } as const;
  validate(folder, waiting);
  return explained(folder, waiting, () => meet(folder, waiting, purpose));
}

async function explained<T>(folder: string, { signal }: OwnershipOptions, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof MillraceError || signal?.aborted) throw error;
    throw new StoreUnavailableError(folder, reasonOf(error), { cause: error });
  }
}

async function meet(given: string, options: OwnershipOptions, purpose: Purpose): Promise<Meeting> {
  const { ifLocked, waitMs = Number.POSITIVE_INFINITY, signal, clock = systemClock } = options;
  const role = options.role ?? 'runtime';
  const patience = new Patience(clock, waitMs, signal);
  const toYield = new Patience(clock, YIELD_MS, signal);
  signal?.throwIfAborted();
  const folder = prepareFolder(given);
  for (let lostRaces = 0; lostRaces < MAX_LOST_RACES; lostRaces++) {
    signal?.throwIfAborted();
    const epoch = epochs.highestEpoch(folder);
    const owner = epoch === 0 ? undefined : epochs.readEpoch(folder, epoch);
    if (owner === undefined && epoch !== 0) continue; // swept since we listed it
    const answer = owner && (await ask(folder, owner.socket));
    if (answer?.kind === 'reset') continue;
    if (owner && answer && (await isAlive(owner, answer))) {
      const connection = answer.kind === 'connected' ? answer.connection : undefined;
      const yields = owner.role === 'caretaker' && role === 'runtime';
      const isMet = purpose !== 'take' && !yields && connection !== undefined;
      if (isMet) return { kind: 'owner', connection, facts: owner };
      if (yields) connection?.write(YIELD);
      const limit = yields && ifLocked === 'fail' ? toYield : patience;
      if ((ifLocked === 'fail' && !yields) || limit.isOver()) {
        connection?.destroy();
        throw new LockedError(given, owner);
      }
      await limit.waitForEnd(epoch, connection);
      lostRaces = 0;
      continue;
    }
    if (purpose === 'look') return { kind: 'nobody' };
    const won = await contend(folder, epoch + 1, role, clock);
    if (won !== undefined && !signal?.aborted) return { kind: 'ownership', ownership: won };
    await won?.release();
  }
  throw new StoreUnavailableError(given, `${MAX_LOST_RACES} races for it were lost in a row`);
}

/**
 * macOS and the BSDs refuse a connection also when the queue of a live, stopped listener is full. There a
 * refusal counts only when the process is gone as well; a released folder has no socket, so it is not
 * concerned.
 */
async function isAlive(owner: epochs.OwnerFacts, answer: Answer): Promise<boolean> {
  if (answer.kind !== 'refused') return answer.kind !== 'absent';
  if (process.platform === 'linux' || process.platform === 'win32') return false;
  if (owner.host !== hostname() || owner.processStart === undefined) return false;
  return (await processStart(owner.pid)) === owner.processStart;
}

/** @returns undefined when somebody else took the epoch, or already a later one. */
async function contend(
  folder: string,
  epoch: number,
  role: epochs.OwnerRole,
  clock: Clock,
): Promise<FolderOwnership | undefined> {
  const nonce = randomBytes(4).toString('hex');
  const socket = epochs.socketName(epoch, nonce);
  const server = await listen(folder, socket);
  const ownership = new FolderOwnership(folder, epoch, server, join(folder, socket));
  try {
    const start = await processStart(process.pid);
    const facts = { socket, pid: process.pid, host: hostname(), since: clock.now(), role };
    const complete = start === undefined ? facts : { ...facts, processStart: start };
    if (epochs.linkEpoch(folder, epoch, nonce, complete)) {
      if (epochs.isHighest(folder, epoch)) {
        epochs.sweep(folder, epoch, socket);
        return ownership;
      }
      epochs.unlinkEpoch(folder, epoch);
    }
  } catch (error) {
    await ownership.release();
    throw error;
  }
  await ownership.release();
  return undefined;
}

class FolderOwnership implements Ownership {
  readonly epoch: number;
  readonly folder: string;
  readonly #server: net.Server;
  readonly #socketPath: string;
  readonly #connections = new Set<net.Socket>();
  #handler: ((socket: net.Socket) => void) | undefined;
  #released: Promise<void> | undefined;

  constructor(folder: string, epoch: number, server: net.Server, socketPath: string) {
    this.folder = folder;
    this.epoch = epoch;
    this.#server = server;
    this.#socketPath = socketPath;
    server.on('connection', (socket) => this.#accept(socket));
  }

  onConnection(handler: (socket: net.Socket) => void): void {
    const isFirst = this.#handler === undefined;
    this.#handler = handler;
    if (isFirst) for (const socket of this.#connections) handler(socket);
  }

  release(): Promise<void> {
    this.#released ??= this.#close();
    return this.#released;
  }

  #accept(socket: net.Socket): void {
    if (this.#connections.size >= MAX_CONNECTIONS) {
      socket.destroy();
      return;
    }
    this.#connections.add(socket);
    socket.once('close', () => this.#connections.delete(socket));
    socket.on('error', () => {}); // a peer that dies is not our failure; 'close' follows
    socket.unref();
    this.#handler?.(socket);
  }

  /**
   * The name goes first, so that nobody is refused by a socket whose process is alive; the epoch file stays.
   */
  async #close(): Promise<void> {
    if (process.platform !== 'win32') fs.rmSync(this.#socketPath, { force: true });
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    // What was written goes out first: answers to clients are promises kept.
    for (const socket of this.#connections) {
      if (this.#handler === undefined) socket.destroy();
      else socket.end();
    }
    const late = setTimeout(() => {
      for (const socket of this.#connections) socket.destroy();
    }, FAREWELL_MS);
    await closed;
    clearTimeout(late);
  }
}

function validate(folder: string, options: OwnershipOptions): void {
  if (typeof folder !== 'string' || folder === '' || folder.includes('\0')) {
    throw new InvalidArgumentError('folder', 'the path of a folder', folder);
  }
  if (options.ifLocked !== 'fail' && options.ifLocked !== 'wait') {
    throw new InvalidArgumentError('options.ifLocked', "'fail' or 'wait'", options.ifLocked);
  }
  const { waitMs } = options;
  if (waitMs !== undefined && !(typeof waitMs === 'number' && waitMs >= 0)) {
    throw new InvalidArgumentError('options.waitMs', 'a number of milliseconds, 0 or more', waitMs);
  }
}
