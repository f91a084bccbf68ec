/**
 * The main module of a child process: the same session as in a worker thread, over pipes. It imports nothing
 * of the user's until the first question, and not before somebody watches the pipe at whose end it dies.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { FrameReader, frameOf } from '../src/wire/frames.js';
import {
  abortCodeOf,
  type ChildHello,
  type ChildQuestion,
  type FromChild,
  type ItemMessage,
  MAX_PLACES,
  PIPES,
  type ToChild,
} from './child-protocol.js';
import { ChildServices } from './child-services.js';
import { memoryWatch } from './memory-watch.js';
import { allocatePage, PARALLEL_PAGE, Page, STATE } from './page.js';
import { processClock } from './process-clock.js';
import type { LoadReply, Note } from './protocol.js';
import { Session } from './session.js';

/** What the host sends is bounded there. */
const MAX_FRAME_BYTES = 2 ** 31 - 1;
/** A Ctrl-C reaches the whole process group; what follows from it the owner decides. */
const IGNORED_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** Written by the watch, and by this thread when it comes to a command: the code of an abort by place. */
const marks = new Int32Array(new SharedArrayBuffer(MAX_PLACES * 4));
const pages: PlacePage[] = [];
const session = new Session({
  now: processClock(),
  wallNow: () => Date.now(),
  importModule: (url) => import(url),
});
const services = new ChildServices(send);
let memoryBytes = 0;
let doneFiles: Note | undefined;

/** The page of a place. Its aborts are told by marks, since it is the host that has the item's real page. */
class PlacePage extends Page {
  run = -1;
  /** The host knows how its item has ended. */
  isTold = true;

  get isUntold(): boolean {
    return !this.isTold && Atomics.load(this.ints, 0) === STATE.finished;
  }

  override abortCode(): number {
    return abortCodeOf(Atomics.load(marks, this.id), this.run);
  }
}

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** Waits until the host has taken it; nothing said is lost with the process. */
function send(message: FromChild): void {
  const frame = frameOf(message);
  try {
    for (let at = 0; at < frame.length; ) at += writeSync(PIPES.answers, frame, at);
  } catch {
    die();
  }
}

function receive(message: ToChild): void {
  switch (message.kind) {
    case 'ask':
      void ask(message.message).then((reply) => send({ kind: 'answer', call: message.call, reply }));
      return;
    case 'item':
      void run(message);
      return;
    case 'abort':
      Atomics.store(marks, message.place, message.mark);
      session.command({ kind: 'abort', page: message.place, index: 0 });
      return;
    case 'command':
      session.command(message.command);
      return;
    case 'blobs':
      session.openBlobs(message.setup);
      return;
    case 'served':
      services.served(message);
  }
}

function ask(message: ChildQuestion): Promise<LoadReply | undefined> {
  if (message.kind === 'hello') return greet(message);
  if (message.kind === 'turn') return Promise.resolve(undefined);
  return session.receive(message) as Promise<LoadReply | undefined>;
}

function greet(hello: ChildHello): Promise<LoadReply> {
  services.maxFrameBytes = hello.maxFrameBytes;
  const tell = (bytes: number): void => {
    memoryBytes = bytes;
  };
  const afterBatch = hello.watchMemory ? memoryWatch(() => session.now(), tell) : () => {};
  return session.connect(hello, tellHost, hello.hasServices ? services : undefined, afterBatch);
}

/** Files of results are done with only when the host has been told of all results in them. */
function tellHost(note: Note): void {
  if (note.kind === 'files') doneFiles = note;
  else send({ kind: 'note', note });
}

function tellOfFiles(): void {
  if (doneFiles === undefined || pages.some((page) => page.isUntold)) return;
  send({ kind: 'note', note: doneFiles });
  doneFiles = undefined;
}

async function run({ place, run, name, row, moved, schedule }: ItemMessage): Promise<void> {
  const page = pageAt(place);
  page.reset(1);
  page.run = run;
  page.isTold = false;
  await session.receive({
    ...{ kind: 'batch', page: place, count: 1, rows: row },
    // The host sees to the order.
    parallel: true,
    names: [name],
    resetNames: true,
    ...(moved === undefined ? {} : { moved: { value: services.read(moved) } }),
    ...(schedule === undefined ? {} : { fires: [schedule] }),
  });
  const { ints, floats, kind, offset, length, endedAt, delayMs, bytes } = page;
  const at = ints[offset]!;
  send({
    kind: 'ended',
    place,
    bits: ints[kind]!,
    runMs: floats[endedAt]! - floats[0]!,
    delayMs: floats[delayMs]!,
    memoryBytes,
    ...(ints[length] === 0 ? {} : { bytes: bytes.subarray(at, at + ints[length]!) }),
  });
  page.isTold = true;
  tellOfFiles();
}

function pageAt(place: number): PlacePage {
  let page = pages[place];
  if (page === undefined) {
    page = new PlacePage(allocatePage(place, PARALLEL_PAGE));
    pages[place] = page;
    session.addPage(page);
  }
  return page;
}

/** As a thread's death reads. Anything can be thrown. */
function lastWords(error: unknown): void {
  let detail = 'something that cannot be shown';
  let code: unknown;
  try {
    detail = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    code = (error as { readonly code?: unknown } | null | undefined)?.code;
  } catch {
    // It is said that it cannot be shown.
  }
  const known = typeof code === 'string' ? { code } : {};
  send({ kind: 'dying', detail: `uncaught ${detail.slice(0, 500)}`, ...known });
}

function listen(): void {
  const reader = new FrameReader(MAX_FRAME_BYTES);
  const data = new Socket({ fd: PIPES.data, readable: true, writable: false });
  data.on('data', (chunk) => {
    for (const message of reader.push(chunk)) receive(message as ToChild);
  });
  data.on('error', () => {});
  data.on('close', die);
}

for (const signal of IGNORED_SIGNALS) {
  // Windows does not have all of them.
  if (process.platform !== 'win32' || signal === 'SIGINT') process.on(signal, () => {});
}
process.on('uncaughtExceptionMonitor', lastWords);
// Nothing that was meant for this process alone: loaders and limits would only slow it down.
const watch = new Worker(new URL('./child-watch.js', import.meta.url), {
  workerData: marks,
  execArgv: [],
  env: {},
});
watch.once('message', listen);
watch.on('exit', die);
