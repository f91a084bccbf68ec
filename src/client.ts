/** `openClient`: the calls of a runtime from a process that runs nothing. */
import { Access, type AnyModule } from './access.js';
import { parseBackend } from './broker/open.js';
import { systemClock } from './clock.js';
import { InvalidArgumentError, StoppedError } from './errors.js';
import { defaultLogger } from './logger.js';
import type { ClientOptions } from './options/types.js';
import { validateClientOptions } from './options.js';
import { KeepAlive } from './run/keep-alive.js';
import type { Standby } from './standby.js';
import { type Codec, codecsByName } from './task/codec.js';
import { defaultThreads } from './threads.js';

/**
 * Opens a client of the tasks in a folder: what it enqueues runs in the process whose runtime has that folder
 * open, now or later. It never opens the store while another process has it, and holds it as a caretaker
 * while nobody else does.
 *
 * @throws (rejects) {InvalidArgumentError} {@link UnknownOptionError} before anything is opened.
 * @throws (rejects) {StoreUnavailableError} {@link StoreCorruptError} {@link StoreForeignError}
 *   {@link StoreTooNewError} {@link ProtocolError} when the owner is of another version.
 */
export async function openClient<Module = AnyModule>(options: ClientOptions): Promise<Client<Module>> {
  const checked = validateClientOptions(options, { logger: defaultLogger, clock: systemClock });
  const { signal, clock, logger } = checked;
  const location = parseBackend(checked.backend);
  if (location.scheme !== 'lmdb') {
    throw new InvalidArgumentError(
      'options.backend',
      'a folder: memory is inside of one process',
      checked.backend,
    );
  }
  signal?.throwIfAborted();
  const codecs = codecsByName(checked.codecs);
  // Loaded when they are needed, so that importing the package is quick.
  const [{ Standby }, { takeCare }] = await Promise.all([import('./standby.js'), import('./caretaker.js')]);
  const standby = new Standby({
    ...{ folder: location.path, role: 'caretaker', codecs, clock, logger },
    hold: (ownership) => takeCare({ location, options: checked, codecs }, ownership),
  });
  const client = new Client<Module>(standby, codecs, signal);
  try {
    await standby.begin();
    return client;
  } catch (error) {
    await client.close();
    throw signal?.aborted ? signal.reason : error;
  }
}

/** A process that enqueues, awaits and controls what another one runs; see {@link openClient}. */
export class Client<Module = AnyModule> extends Access<Module> {
  readonly #standby: Standby;
  readonly #signal: AbortSignal | undefined;
  readonly #keepAlive = new KeepAlive();
  readonly #onAbort = (): void => void this.close();
  #closed: Promise<void> | undefined;

  /** Use {@link openClient}. */
  constructor(standby: Standby, codecs: ReadonlyMap<string, Codec>, signal: AbortSignal | undefined) {
    super(standby.desk, codecs, defaultThreads());
    this.#standby = standby;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** The process may end although this client is open. */
  unref(): this {
    this.#keepAlive.end();
    return this;
  }

  /**
   * Leaves the tasks to others. Calls under way reject: those without an answer with
   * {@link DisconnectedError}, those that wait for an owner with {@link StoppedError}. A caretaker first
   * flushes what it has accepted. Idempotent.
   */
  close(): Promise<void> {
    this.#closed ??= this.#standby.end(new StoppedError('The client')).finally(() => {
      this.#signal?.removeEventListener('abort', this.#onAbort);
      this.#keepAlive.end();
    });
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
