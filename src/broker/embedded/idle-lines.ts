/**
 * Lines of lanes whose last segment has gone. The commit that takes it away takes the name of the lane with
 * it, and the line goes from memory, so that lanes that were used once leave nothing behind.
 */
import type { Core } from './core.js';
import type { Line } from './line.js';
import { afterPrefix } from './tables.js';

export class IdleLines {
  readonly #core: Core;
  readonly #lines = new Set<Line>();

  constructor(core: Core) {
    this.#core = core;
  }

  /** Segments of it have gone, or were not there. */
  add(line: Line): void {
    if (line.kind !== 'plain') this.#lines.add(line);
  }

  /** For the commit that begins. */
  forget(): void {
    if (this.#lines.size === 0) return;
    const { lanes, lines, room } = this.#core;
    for (const line of this.#lines) {
      if (line.live > 0 || this.#isStored(line)) continue;
      lines.forget(line);
      room.forget(line);
      lanes.forget(line);
    }
    this.#lines.clear();
  }

  /** Whether it has segments in the store, also of a batch that is being staged, or damaged ones. */
  #isStored(line: Line): boolean {
    const { tables, lines } = this.#core;
    for (const queue of line.queues()) {
      const range = { start: queue.prefix, end: afterPrefix(queue.prefix), limit: 1 };
      if (tables.range('ready', range).length > 0) return true;
      lines.spill(queue, undefined);
    }
    return false;
  }
}
