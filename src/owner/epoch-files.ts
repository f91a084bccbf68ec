/**
 * The names in a data folder that say who owns it, and the one atomic step that changes the owner.
 *
 *     epoch-7                 who took the folder for the seventh time, and on which socket it answers
 *     epoch-7.3f9a01c2.sock   the socket of a contender for epoch 7; that of the winner is named in epoch-7
 *     epoch-7.3f9a01c2.tmp    its epoch file before it is linked; gone a moment later
 *
 * A contender puts the epoch it fights for into every name it makes. So once epoch 7 is decided, everything
 * that belongs to epochs up to 7, the winner's own files apart, belongs to the dead or to those who have
 * lost, and may go without being asked; nothing of a later epoch is ever touched.
 *
 * The highest epoch file is never removed, so every listing holds it: the kernel lists a folder in steps of
 * some thousand names, each with the folder locked against `link` and `unlink`. A contender who was asleep
 * for whole epochs may re-create a name that has been swept; it then sees a higher one and steps back:
 * `isHighest` is for that.
 *
 * This file decides nothing about life and death, and opens no socket.
 */

import fs from 'node:fs';
import { join } from 'node:path';
import type { EpochMs } from '../clock.js';
import { StoreCorruptError } from '../errors.js';
import { errnoOf, syncFolder, writeComplete } from './durable-file.js';

/** A caretaker gives way to a runtime that asks. */
export type OwnerRole = 'runtime' | 'caretaker';

/** What an epoch file says about the owner. */
export interface OwnerFacts {
  /** Name of its socket in the folder. */
  readonly socket: string;
  readonly pid: number;
  readonly host: string;
  /** When it took the folder. */
  readonly since: EpochMs;
  readonly role: OwnerRole;
  /** Start of the process as the system tells it; with `pid` it names a process for good. */
  readonly processStart?: string;
}

interface Name {
  readonly name: string;
  readonly epoch: number;
  readonly kind: 'epoch' | 'sock' | 'tmp';
}

const NAME = /^epoch-([1-9]\d{0,14})(?:\.[0-9a-f]{8}\.(sock|tmp))?$/;

/** The highest epoch in the folder; 0 when it was never owned. */
export function highestEpoch(folder: string): number {
  return list(folder).reduce(
    (highest, { kind, epoch }) => (kind === 'epoch' && epoch > highest ? epoch : highest),
    0,
  );
}

/**
 * True while nobody has taken the folder after `epoch`. It looks twice: a listing of several steps could miss
 * a name that was linked during the listing, but hardly one that stood there before.
 */
export function isHighest(folder: string, epoch: number): boolean {
  return highestEpoch(folder) === epoch && highestEpoch(folder) === epoch;
}

/**
 * Reads `epoch-N`; `undefined` when it has been swept meanwhile, because a later epoch began.
 * @throws {StoreCorruptError} when the file holds something else: who owns the folder is then unknown.
 */
export function readEpoch(folder: string, epoch: number): OwnerFacts | undefined {
  const path = join(folder, `epoch-${epoch}`);
  let text: string;
  try {
    text = fs.readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const facts = parse(text);
  if (facts === undefined) {
    throw new StoreCorruptError(
      path,
      'it does not say who owns the folder; if no process uses it, delete this file',
    );
  }
  return facts;
}

/** Name of a contender's socket; `nonce` is 8 hex digits of its own. */
export function socketName(epoch: number, nonce: string): string {
  return `epoch-${epoch}.${nonce}.sock`;
}

/**
 * Takes `epoch` if nobody has: the complete file appears under its final name in one step, or not at all.
 * @returns false when another contender was faster.
 */
export function linkEpoch(folder: string, epoch: number, nonce: string, facts: OwnerFacts): boolean {
  const temporary = join(folder, `epoch-${epoch}.${nonce}.tmp`);
  try {
    writeComplete(temporary, `${JSON.stringify(facts)}\n`);
    fs.linkSync(temporary, join(folder, `epoch-${epoch}`));
  } catch (error) {
    // ENOENT: the winner of this epoch has already swept our temporary file away.
    if (['EEXIST', 'ENOENT'].includes(errnoOf(error))) return false;
    throw error;
  } finally {
    fs.rmSync(temporary, { force: true });
  }
  syncFolder(folder);
  return true;
}

/** Takes back an epoch that was linked too late. */
export function unlinkEpoch(folder: string, epoch: number): void {
  fs.rmSync(join(folder, `epoch-${epoch}`), { force: true });
}

/**
 * Removes what earlier owners and the losers of this epoch have left. To be called by the owner of `epoch`
 * only.
 */
export function sweep(folder: string, epoch: number, ownSocket: string): void {
  for (const entry of list(folder).sort((a, b) => a.epoch - b.epoch)) {
    const isOld = entry.epoch < epoch || (entry.epoch === epoch && entry.kind !== 'epoch');
    if (!isOld || entry.name === ownSocket) continue;
    try {
      fs.rmSync(join(folder, entry.name), { force: true });
    } catch {
      // Somebody else's file in a shared folder: it does no harm where it is.
    }
  }
}

function list(folder: string): Name[] {
  const names: Name[] = [];
  for (const name of fs.readdirSync(folder)) {
    const match = NAME.exec(name);
    if (match === null) continue;
    names.push({ name, epoch: Number(match[1]), kind: (match[2] as 'sock' | 'tmp' | undefined) ?? 'epoch' });
  }
  return names;
}

function parse(text: string): OwnerFacts | undefined {
  let value: Partial<Record<keyof OwnerFacts, unknown>> | null;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { socket, pid, host, since, role, processStart } = value;
  if (typeof socket !== 'string' || !NAME.test(socket) || typeof host !== 'string') return undefined;
  if (!Number.isSafeInteger(pid) || !Number.isSafeInteger(since)) return undefined;
  const facts: OwnerFacts = {
    ...{ socket, pid: pid as number, host, since: since as number },
    role: role === 'caretaker' ? role : 'runtime',
  };
  return typeof processStart === 'string' ? { ...facts, processStart } : facts;
}
