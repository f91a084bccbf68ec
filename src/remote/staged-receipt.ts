/** A task of a large batch whose ids came as bytes; the text of one is made when somebody asks. */
import type { Settled } from '../broker/broker.js';
import type { Desk } from '../run/desk.js';
import type { Receipt } from '../run/receipt.js';
import { formatId } from '../task/id.js';
import type { TaskId } from '../task/task.js';

export class StagedReceipt implements Receipt {
  readonly isNew = true;
  readonly #ids: Uint8Array;
  readonly #at: number;
  readonly #desk: Pick<Desk, 'settled'>;

  constructor(ids: Uint8Array, at: number, desk: Pick<Desk, 'settled'>) {
    this.#ids = ids;
    this.#at = at;
    this.#desk = desk;
  }

  get id(): TaskId {
    return formatId(this.#ids, this.#at);
  }

  settled(): Promise<Settled> {
    return this.#desk.settled(this.id);
  }
}
