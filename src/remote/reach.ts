/** From a connection to the owner to a desk: hello, welcome, and what comes after it until the end. */
import type net from 'node:net';
import { MillraceError, ProtocolError } from '../errors.js';
import type { Codec } from '../task/codec.js';
import type { StoredError } from '../task/stored-error.js';
import { Connection } from './connection.js';
import { receivedError } from './forms.js';
import type { OwnersDesk } from './moving-desk.js';
import { MAX_UNSENT_BYTES, PROTOCOL, type Reply, type Welcome } from './protocol.js';
import { RemoteDesk } from './remote-desk.js';

export interface ReachParts {
  readonly codecs: ReadonlyMap<string, Codec>;
  readonly now: () => number;
  /** The owner has greeted. */
  arrived(desk: OwnersDesk): void;
}

/** The owner is one of us, and answers with what it has stored. */
const BOUNDS = { maxFrameBytes: 2 ** 32, maxUnsentBytes: MAX_UNSENT_BYTES, stopsReading: false };

export interface Reached {
  /** Resolves when the owner has gone, with whether it had greeted; rejects when it does not take us. */
  readonly over: Promise<boolean>;
  /** Ends the connection in good order: it is over when the owner has taken what was sent. */
  leave(): void;
  /** Ends it now: an owner that is stopped takes nothing. */
  cut(): void;
}

/** Asks the owner at the other end of `socket` for its desk. The socket does not keep the process alive. */
export function reachOwner(socket: net.Socket, { codecs, now, arrived }: ReachParts): Reached {
  let desk: RemoteDesk | undefined;
  let settle!: (error: Error | undefined) => void;
  const over = new Promise<boolean>((resolve, reject) => {
    settle = (error) => {
      desk?.closed();
      // What the system says of the connection is only how it ended.
      if (error instanceof MillraceError) reject(error);
      else resolve(desk !== undefined);
    };
  });
  const message = (received: unknown): void => {
    if (desk !== undefined) desk.message(received);
    else {
      desk = new RemoteDesk({ connection, welcome: welcomeOf(received), codecs, now });
      arrived(desk);
    }
  };
  const connection = new Connection(socket, { message, closed: (error) => settle(error) }, BOUNDS);
  connection.hold(false);
  connection.send({ kind: 'hello', protocol: PROTOCOL });
  return { over, leave: () => connection.end(), cut: () => connection.destroy() };
}

/** @throws what the owner refused us with, or {ProtocolError} */
function welcomeOf(message: unknown): Welcome {
  const reply = message as Reply;
  if (reply.kind === 'failed') throw receivedError(reply.error as StoredError);
  if (reply.kind !== 'welcome') throw new ProtocolError('something else than a welcome');
  if (reply.protocol !== PROTOCOL) {
    throw new ProtocolError(`a welcome in protocol ${reply.protocol}; this is ${PROTOCOL}`);
  }
  return reply;
}
