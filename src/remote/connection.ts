/**
 * A socket that carries messages: frames in, frames out, and the end told once. What one turn writes goes out
 * together. It knows no message.
 */
import type net from 'node:net';
import { FrameReader, frameOf } from '../wire/frames.js';

export interface ConnectionListener {
  /** Whatever it throws ends the connection. */
  message(message: unknown): void;
  /** The last that is heard. `error` is absent when the other end went away in good order. */
  closed(error: Error | undefined): void;
}

export interface ConnectionBounds {
  /** Content of the largest frame that is taken. */
  readonly maxFrameBytes: number;
  /** Who has more to say waits while more than this has not gone out: see `drained`. */
  readonly maxUnsentBytes: number;
  /** Nothing is read meanwhile, either. Of one end only, or both might wait for each other. */
  readonly stopsReading: boolean;
}

export class Connection {
  readonly #socket: net.Socket;
  readonly #listener: ConnectionListener;
  readonly #bounds: ConnectionBounds;
  readonly #reader: FrameReader;
  #isCorked = false;
  /** How many want that nothing is read. */
  #pauses = 0;
  #error: Error | undefined;
  #drained: (() => void)[] = [];

  constructor(socket: net.Socket, listener: ConnectionListener, bounds: ConnectionBounds) {
    this.#socket = socket;
    this.#listener = listener;
    this.#bounds = bounds;
    this.#reader = new FrameReader(bounds.maxFrameBytes);
    socket.on('error', (error) => {
      this.#error ??= error;
    });
    socket.once('close', () => this.#closed());
    socket.on('drain', () => this.#flowAgain());
    socket.on('data', (chunk) => this.#read(chunk));
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed && this.#socket.writable;
  }

  /** More waits to be written than should. */
  get isFull(): boolean {
    return this.#socket.writableLength > this.#bounds.maxUnsentBytes;
  }

  /** Does nothing when the connection has ended. @throws {NotEncodableError} */
  send(message: unknown): void {
    if (!this.isOpen) return;
    const frame = frameOf(message);
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      queueMicrotask(() => {
        this.#isCorked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(frame);
    if (this.#bounds.stopsReading && this.isFull) this.#socket.pause();
  }

  /** Resolves when what was written has gone out, or nothing goes out any more. */
  drained(): Promise<void> {
    if (!this.isFull || !this.isOpen) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  /** Reads nothing more, so that the other end has to wait. @returns what lets it read again. */
  pauseReading(): () => void {
    this.#pauses++;
    this.#socket.pause();
    return () => {
      if (--this.#pauses === 0 && !(this.#bounds.stopsReading && this.isFull)) this.#socket.resume();
    };
  }

  /** Lets the process end although the connection is open, or not. */
  hold(isHeld: boolean): void {
    if (isHeld) this.#socket.ref();
    else this.#socket.unref();
  }

  /** What was written goes out first. */
  end(): void {
    this.#socket.end();
  }

  destroy(error?: Error): void {
    this.#error ??= error;
    this.#socket.destroy();
  }

  #read(chunk: Uint8Array): void {
    try {
      for (const message of this.#reader.push(chunk)) {
        if (this.#socket.destroyed) return;
        this.#listener.message(message);
      }
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #flowAgain(): void {
    if (this.#pauses === 0) this.#socket.resume();
    this.#tellDrained();
  }

  #closed(): void {
    this.#tellDrained();
    this.#listener.closed(this.#error);
  }

  #tellDrained(): void {
    const waiting = this.#drained;
    this.#drained = [];
    for (const resolve of waiting) resolve();
  }
}
