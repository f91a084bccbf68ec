/** Processes in a folder, for tests of what they do to each other; nothing is left of them. It is no test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach } from 'vitest';
import type { ClientOptions, OpenOptions } from '#src/index.js';
import { fixture } from '../runtime/harness.js';

const members = new Set<Member>();
const folders = new Set<string>();

afterEach(async () => {
  await Promise.all([...members].map((member) => member.end('SIGKILL')));
  members.clear();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
});

/** A folder that goes with the test; the store in it does not exist yet. */
export function freshStore(name = 'store'): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-members-'));
  folders.add(folder);
  return join(folder, name);
}

/** What the highest epoch file of a folder says. */
export function ownerOf(folder: string): { epoch: number; pid: number; host: string; role: string } {
  const epochs = readdirSync(folder).flatMap((name) => /^epoch-(\d+)$/.exec(name)?.[1] ?? []);
  const epoch = Math.max(...epochs.map(Number));
  return { epoch, ...JSON.parse(readFileSync(join(folder, `epoch-${epoch}`), 'utf8')) };
}

interface Answer {
  readonly id?: number;
  readonly value?: unknown;
  readonly error?: { readonly code?: string; readonly name: string; readonly message: string };
  readonly worker?: number;
  readonly exited?: number;
  readonly said?: string;
}

export interface StartOptions {
  /** Workers of a cluster instead of one process. */
  readonly cluster?: number;
  /** What is put before `node` on the command line. */
  readonly under?: readonly string[];
}

type GivenOptions = Partial<OpenOptions & ClientOptions> & { readonly backend: string };

/** What a call to another process rejects with. */
export class MemberError extends Error {
  readonly code: string | undefined;

  constructor({ code, name, message }: NonNullable<Answer['error']>) {
    super(`${name}: ${message}`);
    this.code = code;
  }
}

export class Member {
  readonly process: ChildProcess;
  /** Resolves with its pid, or that of each worker, when it is open; rejects with why it is not. */
  readonly opened: Promise<unknown>;
  readonly #waiting = new Map<string, { resolve(value: unknown): void; reject(error: Error): void }>();
  #last = 0;
  #isGone = false;

  constructor(as: 'runtime' | 'client', options: GivenOptions, { cluster, under = [] }: StartOptions = {}) {
    const setup = JSON.stringify({ as, options, ...(cluster === undefined ? {} : { cluster }) });
    const [command, ...args] = [...under, process.execPath, fileURLToPath(fixture('member')), setup];
    this.process = spawn(command!, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    members.add(this);
    this.process.stdin!.on('error', () => {});
    this.opened =
      cluster === undefined
        ? this.#answer('0')
        : Promise.all(Array.from({ length: cluster }, (_, at) => this.#answer(`0@${at}`)));
    this.opened.catch(() => {});
    createInterface({ input: this.process.stdout! }).on('line', (line) => {
      if (line.startsWith('{')) this.#heard(JSON.parse(line));
      else this.#heard({ said: line });
    });
    this.process.once('exit', (code, signal) => this.#gone(`the member ended with ${code ?? signal}`));
  }

  get pid(): number {
    return this.process.pid!;
  }

  /** Asks it to do something, and waits for the answer. @throws (rejects) {MemberError} */
  ask<Value = unknown>(call: string, ...args: unknown[]): Promise<Value> {
    const id = ++this.#last;
    this.#write({ id, call, args });
    return this.#answer(String(id)) as Promise<Value>;
  }

  /** As `ask`, of one worker of a cluster. */
  askWorker<Value = unknown>(worker: number, call: string, ...args: unknown[]): Promise<Value> {
    const id = ++this.#last;
    this.#write({ id, call, args, worker });
    return this.#answer(`${id}@${worker}`) as Promise<Value>;
  }

  /** Resolves when that worker has gone. */
  killWorker(worker: number): Promise<unknown> {
    this.#write({ id: 0, call: 'kill', args: ['SIGKILL'], worker });
    return this.#answer(`exited@${worker}`);
  }

  /** Resolves when its threads have printed this line, which has to come after the call. */
  said(line: string): Promise<unknown> {
    return this.#answer(`said ${line}`);
  }

  signal(name: NodeJS.Signals): void {
    this.process.kill(name);
  }

  /** Resolves when it is gone; `ends` is its stdin's end without a signal. */
  async end(signal?: NodeJS.Signals): Promise<void> {
    if (this.#isGone) return;
    const gone = once(this.process, 'exit');
    if (signal === undefined) this.process.stdin!.end();
    else this.process.kill(signal);
    await gone;
    members.delete(this);
  }

  #write(request: object): void {
    this.process.stdin!.write(`${JSON.stringify(request)}\n`);
  }

  #answer(key: string): Promise<unknown> {
    if (this.#isGone) return Promise.reject(new Error('the member has ended'));
    const answer = new Promise<unknown>((resolve, reject) => this.#waiting.set(key, { resolve, reject }));
    // Who kills it may not want to know.
    answer.catch(() => {});
    return answer;
  }

  #heard({ id, value, error, worker, exited, said }: Answer): void {
    let key = `${id}${worker === undefined ? '' : `@${worker}`}`;
    if (exited !== undefined) key = `exited@${exited}`;
    if (said !== undefined) key = `said ${said}`;
    const waiting = this.#waiting.get(key);
    this.#waiting.delete(key);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new MemberError(error));
  }

  #gone(why: string): void {
    this.#isGone = true;
    for (const { reject } of this.#waiting.values()) reject(new Error(why));
    this.#waiting.clear();
  }
}

/** Starts a member and waits until it is open. */
export async function start(
  as: 'runtime' | 'client',
  options: GivenOptions,
  how: StartOptions = {},
): Promise<Member> {
  const member = new Member(as, options, how);
  await member.opened;
  return member;
}

/** What a promise rejects with. */
export async function refusal(promise: Promise<unknown>): Promise<MemberError> {
  try {
    await promise;
  } catch (error) {
    return error as MemberError;
  }
  throw new Error('it was fulfilled');
}
