/**
 * The owner's side of its socket: greets clients, has their calls answered, and is told when a runtime wants
 * the folder. What one client sends can hurt its own connection only: frames are bounded, every member is
 * checked where it is used, calls under way are counted, and who does not read is not read from.
 */
import type net from 'node:net';
import { ProtocolError, QueueFullError } from '../errors.js';
import type { RuntimeOptions } from '../options/types.js';
import type { OwnerRole } from '../owner/epoch-files.js';
import type { Coordinator } from '../run/coordinator.js';
import type { LocalDesk } from '../run/local-desk.js';
import { storeError } from '../task/stored-error.js';
import { Answering } from './answering.js';
import { Connection, type ConnectionListener } from './connection.js';
import {
  type Call,
  FRAME_ROOM_BYTES,
  MAX_CALLS,
  MAX_CLIENTS,
  MAX_UNSENT_BYTES,
  PROTOCOL,
  type Reply,
  type Request,
  type Welcome,
} from './protocol.js';

export interface ServerParts {
  readonly desk: LocalDesk;
  readonly coordinator: Coordinator;
  readonly role: OwnerRole;
  readonly options: Pick<RuntimeOptions, 'queues' | 'maxPayloadBytes' | 'maxBufferBytes' | 'whenFull'>;
  /** A runtime wants the folder; asked of caretakers, who are to give it up. */
  readonly yieldAsked?: () => void;
}

export class Server {
  readonly #parts: ServerParts;
  readonly #guests = new Set<Visit>();

  constructor(parts: ServerParts) {
    this.#parts = parts;
  }

  /** For `Ownership.onConnection`. */
  accept(socket: net.Socket): void {
    new Visit(socket, this.#parts, this.#guests);
  }
}

/** One client from its first byte to its end. */
class Visit implements ConnectionListener {
  readonly #parts: ServerParts;
  readonly #connection: Connection;
  readonly #answering: Answering;
  /** Calls under way; of a batch in parts, from its first part on. */
  readonly #calls = new Set<number>();
  /** Of this owner, with this one once it is greeted. */
  readonly #guests: Set<Visit>;
  #isGreeted = false;

  constructor(socket: net.Socket, parts: ServerParts, guests: Set<Visit>) {
    this.#guests = guests;
    const { maxPayloadBytes, maxBufferBytes } = parts.options;
    this.#parts = parts;
    this.#connection = new Connection(socket, this, {
      maxFrameBytes: maxPayloadBytes + maxBufferBytes + FRAME_ROOM_BYTES,
      maxUnsentBytes: MAX_UNSENT_BYTES,
      stopsReading: true,
    });
    this.#answering = new Answering(parts.desk, this.#connection);
  }

  message(message: unknown): void {
    const request = requestOf(message);
    if (request.kind === 'yield') this.#parts.yieldAsked?.();
    else if (request.kind === 'hello' && !this.#isGreeted) this.#greet(request.protocol);
    else if (request.kind === 'hello') throw new ProtocolError('a second hello');
    else if (!this.#isGreeted) throw new ProtocolError('a call before its hello');
    else if (request.kind === 'call') this.#take(request);
    else if (this.#answering.end(request.call)) this.#calls.delete(request.call);
  }

  closed(): void {
    this.#guests.delete(this);
    this.#answering.close();
  }

  #greet(protocol: unknown): void {
    if (protocol !== PROTOCOL) {
      this.#refuse(new ProtocolError(`protocol ${protocol}; this owner speaks ${PROTOCOL}`));
      return;
    }
    if (this.#guests.size >= MAX_CLIENTS) {
      this.#refuse(new QueueFullError('Clients of this owner', this.#guests.size + 1, MAX_CLIENTS));
      return;
    }
    this.#guests.add(this);
    const { coordinator, role, options } = this.#parts;
    const { queues, maxPayloadBytes, maxBufferBytes, whenFull } = options;
    this.#isGreeted = true;
    const handlers = coordinator.registry.handlers.map(({ name, pattern, options }) => ({
      ...{ name, pattern, options },
    }));
    const named = [...queues].flatMap(([queue, { codec }]) => (codec === undefined ? [] : [[queue, codec]]));
    const codecs = Object.fromEntries(named);
    const welcome: Welcome = {
      ...{ kind: 'welcome', protocol: PROTOCOL, role, handlers, codecs, maxPayloadBytes, maxBufferBytes },
      whenFull,
    };
    this.#send(welcome);
  }

  #refuse(error: Error): void {
    this.#send({ kind: 'failed', call: 0, error: storeError(error) });
    this.#connection.end();
  }

  #take(call: Call): void {
    const { call: number } = call;
    const isUnderWay = this.#calls.has(number);
    // Else one number would stand for any number of calls.
    if (isUnderWay && !this.#answering.hasParts(call)) {
      throw new ProtocolError('a call under the number of another');
    }
    if (this.#calls.size >= MAX_CALLS && !isUnderWay) {
      const error = new QueueFullError('Calls of this client under way', this.#calls.size, MAX_CALLS);
      this.#send({ kind: 'failed', call: number, error: storeError(error) });
      return;
    }
    this.#calls.add(number);
    void this.#answer(call);
  }

  async #answer(call: Call): Promise<void> {
    const { call: number } = call;
    let reply: Reply | undefined;
    try {
      const answer = await this.#answering.answer(call);
      if (answer === 'later') return;
      if (answer === 'none') {
        this.#calls.delete(number);
        return;
      }
      reply = { kind: 'done', call: number, ...(answer.value === undefined ? {} : { value: answer.value }) };
    } catch (error) {
      reply = { kind: 'failed', call: number, error: storeError(error) };
    }
    this.#calls.delete(number);
    this.#send(reply);
  }

  #send(reply: Reply): void {
    try {
      this.#connection.send(reply);
    } catch (error) {
      // A stored value that cannot travel. The call must not wait for ever.
      const { call } = reply as { readonly call: number };
      this.#connection.send({ kind: 'failed', call, error: storeError(error) });
    }
  }
}

/** @throws {ProtocolError} */
function requestOf(message: unknown): Request {
  const request = message as Partial<Request & { readonly call: unknown }> | undefined | null;
  if (typeof request !== 'object' || request === null) throw new ProtocolError('a message that is no object');
  const { kind } = request;
  if (kind === 'hello' || kind === 'yield') return request as Request;
  if (kind !== 'call' && kind !== 'end') throw new ProtocolError('a message of an unknown kind');
  if (!Number.isSafeInteger(request.call)) throw new ProtocolError('a call without a number');
  return request as Request;
}
