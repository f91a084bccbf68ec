/**
 * One child process with its pipes: how it is spawned, what goes over which pipe, and what is known of its
 * end. It knows no task. What goes over the pipes is told in `workers/child-protocol.ts`.
 */
import { type ChildProcess as NodeProcess, type SpawnOptions, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type FromChild, PIPES, type ToChild } from '../../workers/child-protocol.js';
import type { Clock } from '../clock.js';
import { FrameReader, frameOf } from '../wire/frames.js';
import { nodeOptionsOf } from './child-options.js';
import type { ThreadSetup } from './thread.js';

export interface ProcessListener {
  message(message: FromChild): void;
  /** The last event: it is gone, and everything it had said has been told. */
  exited(end: ProcessEnd): void;
}

export interface ProcessEnd {
  /** With what it wrote last to stderr. */
  readonly detail: string;
  /** Without that. */
  readonly cause: string;
  /** Exit code, or the name of the signal. */
  readonly code: number | string;
}

const ENTRY = fileURLToPath(new URL('../../workers/child.js', import.meta.url));
/** Of what it wrote to stderr, kept for the error that tells of its end. */
const TAIL_CHARS = 2_000;
/** After its end, for what is still in its pipes; a process of its own may hold them open. */
const REST_MS = 500;

export class ChildProcess {
  readonly #process: NodeProcess | undefined;
  readonly #listener: ProcessListener;
  readonly #clock: Clock;
  #tail = '';
  /** Why it was given up. */
  #fault: string | undefined;
  #isGone = false;

  constructor(setup: ThreadSetup, maxFrameBytes: number, listener: ProcessListener) {
    this.#listener = listener;
    this.#clock = setup.clock;
    const started = start(setup);
    if (started instanceof Error) {
      queueMicrotask(() => this.#gone(`could not be started: ${started.message}`, -1));
      return;
    }
    this.#process = started;
    started.on('error', (error) => {
      if (started.pid === undefined) this.#gone(`could not be started: ${error.message}`, -1);
    });
    if (started.pid === undefined) return;
    started.unref();
    this.#watchPipes(started, maxFrameBytes);
  }

  /** -1 when it could not be started. */
  get pid(): number {
    return this.#process?.pid ?? -1;
  }

  send(message: ToChild): void {
    this.#write(PIPES.data, message);
  }

  /** Reaches it also when it is busy. */
  mark(place: number, mark: number): void {
    this.#write(PIPES.control, { place, mark });
  }

  kill(): void {
    // Its exit is awaited: that must come before the end of this process.
    this.#process?.ref();
    this.#process?.kill('SIGKILL');
  }

  /** Whether this process goes on for its sake. */
  hold(isHeld: boolean): void {
    if (isHeld) this.#process?.ref();
    else this.#process?.unref();
  }

  #write(pipe: number, message: unknown): void {
    const pipes: readonly unknown[] = this.#process?.stdio ?? [];
    const stream = pipes[pipe] as Writable | undefined;
    if (stream?.writable === true) stream.write(frameOf(message));
  }

  #watchPipes(started: NodeProcess, maxFrameBytes: number): void {
    for (const stream of started.stdio) {
      // A broken pipe is the end of the process, which is told elsewhere.
      stream?.on('error', () => {});
      (stream as unknown as { unref?(): void } | null)?.unref?.();
    }
    started.stdout!.on('data', (chunk) => process.stdout.write(chunk));
    started.stderr!.on('data', (chunk) => {
      this.#tail = (this.#tail + String(chunk)).slice(-TAIL_CHARS);
      process.stderr.write(chunk);
    });
    const pipes: readonly unknown[] = started.stdio;
    const answers = pipes[PIPES.answers] as Readable;
    const reader = new FrameReader(maxFrameBytes);
    answers.on('data', (chunk: Uint8Array) => this.#read(reader, chunk));
    const closed = [answers, started.stderr!].map((each) => new Promise((done) => each.on('close', done)));
    started.on('exit', (code, signal) => {
      const end = signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
      const tell = () => this.#gone(this.#fault ?? end, signal ?? code ?? -1);
      const disarm = this.#clock.arm(REST_MS, tell);
      void Promise.all(closed).then(() => {
        disarm();
        tell();
      });
    });
  }

  /** What cannot be read is nothing that this package writes; nobody knows what it would do next. */
  #read(reader: FrameReader, chunk: Uint8Array): void {
    if (this.#fault !== undefined || this.#isGone) return;
    try {
      for (const message of reader.push(chunk)) this.#listener.message(message as FromChild);
    } catch (error) {
      this.#fault = `sent what is no message: ${error instanceof Error ? error.message : String(error)}`;
      this.kill();
    }
  }

  #gone(detail: string, code: number | string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    const tail = this.#tail.trim();
    const said = tail === '' ? '' : `; its last words on stderr: ${tail}`;
    const cause = `child process ${detail}`;
    this.#listener.exited({ detail: `${cause}${said}`, cause, code });
  }
}

function start(setup: ThreadSetup): NodeProcess | Error {
  const options: SpawnOptions = {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
    env: { ...(setup.env ?? process.env) },
    windowsHide: true,
  };
  try {
    return spawn(process.execPath, [...nodeOptionsOf(setup), ENTRY], options);
  } catch (error) {
    return error as Error;
  }
}
