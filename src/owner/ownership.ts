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
 * This file does not speak over the connections: it hands them to the owner. It does not guard against a
 * folder shared by several machines, whose sockets cannot see each other.
 */

import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import type net from 'node:net';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type Clock, systemClock } from '../clock.js';
import { InvalidArgumentError, LockedError, MillraceError, StoreUnavailableError } from '../errors.js';
import { errnoOf, reasonOf, syncFolder } from './durable-file.js';
import * as epochs from './epoch-files.js';
import { Patience } from './patience.js';
import { processStart } from './process-start.js';
import { type Answer, ask, listen } from './socket.js';

export interface OwnershipOptions {
  /** While another process, or this one, owns the folder: throw at once, or wait until it is free. */
  readonly ifLocked: 'fail' | 'wait';
  /** Longest wait in milliseconds, 0 or more; without it a wait ends only by `signal`. */
  readonly waitMs?: number | undefined;
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
   * Closes the socket and all connections; then the folder may be somebody else's. Close the store before.
   */
  release(): Promise<void>;
}

/** Races lost in a row before it is a fault of the file system: each needs an owner that came and went. */
const MAX_LOST_RACES = 1_000;
/** Connections kept before there is a handler; further ones are closed. */
const MAX_UNHANDLED = 1_024;

/**
 * Becomes the owner of `folder`, which is made (mode 0700) when missing.
 *
 * @throws {LockedError} when it is owned and `ifLocked` is `'fail'`, or still is after `waitMs`.
 * @throws {StoreUnavailableError} when there can be no folder, or no socket in it.
 * @throws {StoreCorruptError} when the epoch file does not say who the owner is.
 */
export async function takeOwnership(folder: string, options: OwnershipOptions): Promise<Ownership> {
  validate(folder, options);
  try {
    return await take(folder, options);
  } catch (error) {
    if (error instanceof MillraceError || options.signal?.aborted) throw error;
    throw new StoreUnavailableError(folder, reasonOf(error), { cause: error });
  }
}

async function take(given: string, options: OwnershipOptions): Promise<Ownership> {
  const clock = options.clock ?? systemClock;
  const patience = new Patience(clock, options.waitMs ?? Number.POSITIVE_INFINITY, options.signal);
  options.signal?.throwIfAborted();
  const folder = prepareFolder(given);
  for (let lostRaces = 0; lostRaces < MAX_LOST_RACES; lostRaces++) {
    options.signal?.throwIfAborted();
    const epoch = epochs.highestEpoch(folder);
    const owner = epoch === 0 ? undefined : epochs.readEpoch(folder, epoch);
    if (owner === undefined && epoch !== 0) continue; // swept since we listed it
    const answer = owner && (await ask(folder, owner.socket));
    if (answer?.kind === 'reset') continue;
    if (owner && answer && (await isAlive(owner, answer))) {
      const connection = answer.kind === 'connected' ? answer.connection : undefined;
      if (options.ifLocked === 'fail' || patience.isOver()) {
        connection?.destroy();
        throw new LockedError(given, owner);
      }
      await patience.waitForEnd(epoch, connection);
      lostRaces = 0;
      continue;
    }
    const won = await contend(folder, epoch + 1, clock);
    if (won !== undefined && !options.signal?.aborted) return won;
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
async function contend(folder: string, epoch: number, clock: Clock): Promise<FolderOwnership | undefined> {
  const nonce = randomBytes(4).toString('hex');
  const socket = epochs.socketName(epoch, nonce);
  const server = await listen(folder, socket);
  const ownership = new FolderOwnership(folder, epoch, server, join(folder, socket));
  try {
    const start = await processStart(process.pid);
    const facts = { socket, pid: process.pid, host: hostname(), since: clock.now() };
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
    if (this.#handler === undefined && this.#connections.size >= MAX_UNHANDLED) {
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
    for (const socket of this.#connections) socket.destroy();
    await closed;
  }
}

/** @returns the folder's one true path: two spellings of a folder must lead to the same sockets. */
function prepareFolder(folder: string): string {
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
