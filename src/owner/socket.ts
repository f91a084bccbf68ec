/**
 * Sockets with a name in a data folder: listening on one, and asking whether somebody listens.
 *
 * A connection is a proof of life that needs no answer: the kernel makes it for a listener that is busy or
 * stopped, and refuses it from the moment the process is gone. A path too long for a socket address goes
 * through `/proc/self/fd` on Linux, because elsewhere it would be cut silently; abstract sockets are not
 * used, since containers that share a folder do not share their names. On Windows the name is that of a pipe.
 *
 * This file knows nothing of epochs, and never removes a socket it did not make.
 */

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { StoreUnavailableError } from '../errors.js';
import { errnoOf, reasonOf } from './durable-file.js';

/**
 * What connecting to a socket has shown. `busy`: somebody listens, the queue is full. `refused`: nobody
 * listens. `absent`: there is no socket. `reset`: the listener went while we were in its queue, so it is time
 * to look again.
 */
export type Answer =
  | { readonly kind: 'connected'; readonly connection: net.Socket }
  | { readonly kind: Silence };

type Silence = 'busy' | 'refused' | 'absent' | 'reset';

/** A path that fits a socket address. It is valid until `close`. */
interface Address {
  readonly path: string;
  close(): void;
}

/** Bytes of a socket path, without the closing NUL: 108 on Linux, 104 on macOS and the BSDs. */
const MAX_PATH_BYTES = process.platform === 'linux' ? 107 : 103;

/**
 * Connects to the socket `name` in `folder`; the caller closes the connection.
 * @throws {StoreUnavailableError} when the system gives no answer, for example for lack of permission.
 */
export async function ask(folder: string, name: string): Promise<Answer> {
  const address = addressOf(folder, name);
  const connection = net.connect({ path: address.path });
  try {
    await once(connection, 'connect');
    connection.on('error', ignore);
    return { kind: 'connected', connection };
  } catch (error) {
    connection.destroy();
    const kind = ANSWERS[errnoOf(error)];
    if (kind === undefined) {
      throw new StoreUnavailableError(folder, `its owner cannot be asked, ${reasonOf(error)}`, {
        cause: error,
      });
    }
    return { kind };
  } finally {
    address.close();
  }
}

const ANSWERS: Readonly<Record<string, Silence>> = {
  EAGAIN: 'busy',
  EBUSY: 'busy',
  ECONNREFUSED: 'refused',
  ENOENT: 'absent',
  ENOTSOCK: 'absent', // a copy of the folder, with plain files for sockets
  ECONNRESET: 'reset',
  EPIPE: 'reset',
};

/**
 * Listens on a new socket `name` in `folder` that only this user may connect to. It does not keep the process
 * alive.
 *
 * `exclusive`, because without it the workers of a `node:cluster` all get the one socket of their primary.
 * @throws {StoreUnavailableError} when the folder takes no socket.
 */
export async function listen(folder: string, name: string): Promise<net.Server> {
  const address = addressOf(folder, name);
  const server = net.createServer();
  server.once('close', () => address.close()); // closing unlinks the path, so it has to stay valid
  try {
    server.listen({ path: address.path, exclusive: true });
    await once(server, 'listening');
    closeToOthers(address.path);
  } catch (error) {
    if (server.listening) server.close();
    else address.close();
    throw new StoreUnavailableError(folder, `no socket can be made in it, ${reasonOf(error)}`, {
      cause: error,
    });
  }
  server.on('error', ignore); // out of descriptors: the connection is dropped, the socket stays
  server.unref();
  return server;
}

function closeToOthers(path: string): void {
  if (process.platform === 'win32') return;
  try {
    fs.chmodSync(path, 0o600);
  } catch (error) {
    // The winner of this race has swept our socket away already; linking the epoch will tell that we lost.
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

function addressOf(folder: string, name: string): Address {
  if (process.platform === 'win32') {
    const mark = createHash('sha256').update(folder.toLowerCase()).digest('hex').slice(0, 32);
    return { path: `\\\\.\\pipe\\millrace-${mark}-${name}`, close: ignore };
  }
  const path = join(folder, name);
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_PATH_BYTES) return { path, close: ignore };
  if (process.platform !== 'linux') {
    const excess = bytes - MAX_PATH_BYTES;
    throw new StoreUnavailableError(
      folder,
      `its path is ${excess} bytes too long for a socket; use a shorter one`,
    );
  }
  return throughDescriptor(folder, name);
}

/**
 * `/proc/self/fd/<n>` is the folder itself, however long its path. Without `/proc` a live owner would look
 * dead.
 */
function throughDescriptor(folder: string, name: string): Address {
  const descriptor = fs.openSync(folder, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  const door = `/proc/self/fd/${descriptor}`;
  const close = () => fs.closeSync(descriptor);
  try {
    const [own, seen] = [fs.fstatSync(descriptor), fs.statSync(door)];
    if (own.ino === seen.ino && own.dev === seen.dev) return { path: `${door}/${name}`, close };
  } catch {
    // As below.
  }
  close();
  throw new StoreUnavailableError(
    folder,
    'its path is too long for a socket and /proc is missing; use a shorter one',
  );
}

function once(emitter: net.Socket | net.Server, event: 'connect' | 'listening'): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error) => {
      emitter.removeListener(event, settle);
      emitter.removeListener('error', settle);
      if (error === undefined) resolve();
      else reject(error);
    };
    emitter.once(event, settle);
    emitter.once('error', settle);
  });
}

function ignore(): void {}
