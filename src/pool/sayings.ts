/** What the handlers of a batch have said beside their results, until their items are reported. */
import type { Note } from '../../workers/protocol.js';
import { decodeValue } from '../task/codec.js';
import type { EnqueueRequest, ItemExtras } from './pool.js';

/** Of one item. */
interface Said {
  progress?: unknown;
  readonly logs: { readonly at: number; readonly message: string }[];
  readonly enqueue: EnqueueRequest[];
  /** A result, or an error, that did not fit into the page. */
  bytes?: Uint8Array;
}

export class Sayings {
  readonly #byIndex = new Map<number, Said>();

  keep(note: Note): void {
    let said = this.#byIndex.get(note.index);
    if (said === undefined) {
      said = { logs: [], enqueue: [] };
      this.#byIndex.set(note.index, said);
    }
    if (note.kind === 'progress') said.progress = decodeValue(note.value);
    else if (note.kind === 'result') said.bytes = note.bytes;
    else if (note.kind === 'log') said.logs.push({ at: note.at, message: note.message });
    else if (note.kind === 'enqueue') said.enqueue.push(note.request);
  }

  /** The last progress. */
  progressOf(index: number): unknown {
    return this.#byIndex.get(index)?.progress;
  }

  bytesOf(index: number): Uint8Array | undefined {
    return this.#byIndex.get(index)?.bytes;
  }

  /**
   * What goes with the outcome, and forgets it.
   * @param completed  What is to be enqueued together with a result goes with a result only.
   */
  take(index: number, completed: boolean): ItemExtras | undefined {
    const said = this.#byIndex.get(index);
    if (said === undefined) return undefined;
    this.#byIndex.delete(index);
    const extras = {
      ...(said.progress === undefined ? {} : { progress: said.progress }),
      ...(said.logs.length === 0 ? {} : { logs: said.logs }),
      ...(said.enqueue.length === 0 || !completed ? {} : { enqueue: said.enqueue }),
    };
    return Object.keys(extras).length === 0 ? undefined : extras;
  }
}
