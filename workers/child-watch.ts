/**
 * A thread inside of a child process that is never busy: it reads the control pipe. Marks of aborts it puts
 * where the handler looks, which a busy main thread could not do; and at the end of the pipe it ends the
 * process, whatever the main thread does, in JavaScript or in native code: a child never outlives its owner.
 */
import { Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { FrameReader } from '../src/wire/frames.js';
import { PIPES } from './child-protocol.js';

/** A mark and its place. */
const MAX_FRAME_BYTES = 1_024;

const marks = workerData as Int32Array;
const reader = new FrameReader(MAX_FRAME_BYTES);
const control = new Socket({ fd: PIPES.control, readable: true, writable: false });
control.on('data', (chunk) => {
  for (const message of reader.push(chunk)) {
    const { place, mark } = message as { readonly place: number; readonly mark: number };
    Atomics.store(marks, place, mark);
  }
});
control.on('error', () => {});
control.on('close', () => process.kill(process.pid, 'SIGKILL'));
parentPort!.postMessage('watching');
