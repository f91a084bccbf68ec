/** Calls to the owner under way on one connection: each has a number, by which its answer finds it. */
import { ProtocolError, StoppedError } from '../errors.js';
import type { StoredError } from '../task/stored-error.js';
import type { Connection } from './connection.js';
import { receivedError } from './forms.js';
import type { Reply, Verb, Verbs } from './protocol.js';

export class Calls {
  readonly #connection: Connection;
  readonly #open = new Map<number, OpenCall>();
  #last = 0;
  #closed: Error | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get isClosed(): boolean {
    return this.#closed !== undefined || !this.#connection.isOpen;
  }

  /** @throws {StoppedError} when the owner is gone: nothing was asked. */
  begin(): OpenCall {
    if (this.isClosed) throw new StoppedError('The owner of the tasks');
    const number = ++this.#last;
    const call = new OpenCall(number, this.#connection, () => this.#open.delete(number));
    this.#open.set(number, call);
    return call;
  }

  /** @throws {ProtocolError} */
  message(message: unknown): void {
    const reply = message as Reply;
    if (reply.kind === 'welcome') throw new ProtocolError('a second welcome');
    const call = this.#open.get(reply.call);
    if (call === undefined) return;
    if (reply.kind === 'event') call.event(reply.event);
    else if (reply.kind === 'done') call.done(reply.value);
    else call.failed(receivedError(reply.error as StoredError));
  }

  close(error: Error): void {
    this.#closed ??= error;
    for (const call of [...this.#open.values()]) call.failed(error);
  }
}

export class OpenCall {
  readonly answer: Promise<unknown>;
  readonly #number: number;
  readonly #connection: Connection;
  readonly #over: () => void;
  #isOver = false;
  #resolve!: (value: unknown) => void;
  #reject!: (error: Error) => void;
  #hear: (event: unknown) => void = () => {};

  constructor(number: number, connection: Connection, over: () => void) {
    this.#number = number;
    this.#connection = connection;
    this.#over = over;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever asked hears of it; who has dropped the call does not want to.
    this.answer.catch(() => {});
  }

  send<Name extends Verb>(verb: Name, args: Verbs[Name]): void {
    this.#connection.send({ kind: 'call', call: this.#number, verb, ...args });
  }

  /** Resolves when the owner has taken most of what was sent. */
  drained(): Promise<void> {
    return this.#connection.drained();
  }

  /** Answered, failed or dropped. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Wants it to be answered soon. */
  hurry(): void {
    this.#connection.send({ kind: 'end', call: this.#number });
  }

  /** Wants nothing more of it, and sends no more parts. */
  drop(): void {
    this.#connection.send({ kind: 'end', call: this.#number });
    this.#end();
    this.#resolve(undefined);
  }

  done(value: unknown): void {
    this.#end();
    this.#resolve(value);
  }

  failed(error: Error): void {
    this.#end();
    this.#reject(error);
  }

  /** Events come until the answer. Whatever `hear` throws ends the connection. */
  onEvent(hear: (event: unknown) => void): void {
    this.#hear = hear;
  }

  event(event: unknown): void {
    this.#hear(event);
  }

  #end(): void {
    this.#isOver = true;
    this.#over();
  }
}
