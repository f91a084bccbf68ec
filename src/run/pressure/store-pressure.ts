/** Whether the store refuses tasks, by its own bounds, and when that is told. */
import type { Broker } from '../../broker/broker.js';
import type { Clock } from '../../clock.js';
import type { StoreFullError } from '../../errors.js';
import type { RuntimeOptions } from '../../options/types.js';
import type { RuntimeEvent } from '../events.js';

/** It is relieved when it has room for this share of its bound: so it does not flutter. */
const RELIEF_SHARE = 0.05;

interface Host {
  readonly broker: Pick<Broker, 'hasRoom'>;
  readonly clock: Pick<Clock, 'now'>;
  tell(event: RuntimeEvent): void;
}

export class StorePressure {
  readonly #limits: Pick<RuntimeOptions, 'maxBytes' | 'minFreeBytes'>;
  readonly #host: Host;
  #full: StoreFullError | undefined;

  constructor(limits: Pick<RuntimeOptions, 'maxBytes' | 'minFreeBytes'>, host: Host) {
    this.#limits = limits;
    this.#host = host;
  }

  /** From the first refusal on, until it has had room for a while. */
  get isFull(): boolean {
    return this.#full !== undefined;
  }

  refused(error: StoreFullError): void {
    if (this.#full === undefined) this.#tell('pressure', error);
    this.#full = error;
  }

  mayHaveRoom(bytes: number): boolean {
    return this.#full === undefined || this.#host.broker.hasRoom(bytes);
  }

  /** Time has passed: it may have been relieved. */
  look(): void {
    const full = this.#full;
    if (full === undefined) return;
    if (!this.#host.broker.hasRoom(RELIEF_SHARE * this.#limits[full.limit])) return;
    this.#full = undefined;
    this.#tell('relief', full);
  }

  #tell(kind: 'pressure' | 'relief', { limit: mark, bytes, bound: limit }: StoreFullError): void {
    this.#host.tell({ kind, mark, bytes, limit, at: this.#host.clock.now() });
  }
}
