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

  /** A segment of it has ended, or was not there. */
  add(line: Line): void {
    if (line.kind !== 'plain') this.#lines.add(line);
  }

  /** A batch was taken away that was being staged. @returns whether it has left any behind. */
  addUnused(): boolean {
    for (const line of this.#core.lanes) if (line.live === 0) this.add(line);
    return this.#lines.size > 0;
  }

  /** For the commit that begins. */
  forget(): void {
    const { lanes, lines, room, stages } = this.#core;
    // A batch that is being staged holds lines that have nothing yet.
    if (this.#lines.size === 0 || stages.all.length > 0) return;
    for (const line of this.#lines) {
      if (!this.#isIdle(line)) continue;
      lines.forget(line);
      room.forget(line);
      lanes.forget(line);
    }
    this.#lines.clear();
  }

  #isIdle(line: Line): boolean {
    if (line.live > 0) return false;
    const { tables, lines } = this.#core;
    for (const queue of line.queues()) {
      if (!queue.isSpilled) continue;
      const range = { start: queue.prefix, end: afterPrefix(queue.prefix), limit: 1 };
      if (tables.range('ready', range).length > 0) return false;
      lines.spill(queue, undefined);
    }
    return true;
  }
}
