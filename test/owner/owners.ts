/**
 * What the tests of `src/owner` share: a folder per test, real processes that own it, and the tidying up
 * after both. It is no test itself.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { afterEach, beforeEach, expect } from 'vitest';
import { LockedError } from '#src/errors.js';
import { type Ownership, type OwnershipOptions, takeOwnership } from '#src/owner/ownership.js';

export const CHILD = path.resolve(import.meta.dirname, '../fixtures/owner-child.mjs');
export const onLinux = process.platform === 'linux';
export const onUnix = process.platform !== 'win32';

export type Reply = Record<string, unknown>;

/** A child process that answers requests one at a time. */
export class Child {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(...flags: string[]) {
    this.process = spawn(process.execPath, [CHILD, ...flags], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = readline.createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
    children.push(this);
  }

  get pid(): number {
    return this.process.pid!;
  }

  async ask(request: Reply): Promise<Reply> {
    this.process.stdin!.write(`${JSON.stringify(request)}\n`);
    return this.next();
  }

  async next(): Promise<Reply> {
    return JSON.parse((await this.#lines.next()).value);
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
  }
}

export let root: string;
export let folder: string;
let children: Child[] = [];
export let ownerships: Ownership[] = [];

export async function take(options: Partial<OwnershipOptions> = {}, at = folder): Promise<Ownership> {
  const ownership = await takeOwnership(at, { ifLocked: 'fail', ...options });
  ownerships.push(ownership);
  return ownership;
}

export async function refusal(attempt: Promise<unknown>): Promise<LockedError> {
  const error = await attempt.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(LockedError);
  return error as LockedError;
}

export async function childOwner(at = folder): Promise<Child> {
  const child = new Child();
  expect(await child.ask({ command: 'take', folder: at })).toMatchObject({ epoch: expect.any(Number) });
  return child;
}

export const ownersFacts = (at = folder) => {
  const epochs = fs.readdirSync(at).filter((name) => /^epoch-\d+$/.test(name));
  const highest = epochs.sort((a, b) => Number(b.slice(6)) - Number(a.slice(6)))[0]!;
  return JSON.parse(fs.readFileSync(path.join(at, highest), 'utf8'));
};

beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'mr-'));
  folder = path.join(root, 'data');
});

afterEach(async () => {
  for (const child of children) await child.kill();
  for (const ownership of ownerships) await ownership.release();
  children = [];
  ownerships = [];
  fs.chmodSync(root, 0o700);
  fs.rmSync(root, { recursive: true, force: true });
});

/** Resolves when the owner has a waiter's connection: a reply shows that its loop has turned since. */
export async function connectionOf(owner: Child): Promise<void> {
  await owner.ask({ command: 'release' });
}
