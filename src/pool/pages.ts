/**
 * The pages of one thread on the host's side: made on first use, sent to the thread once, used again. A
 * thread's pages die with it, because a thread stuck in native code may still write into them.
 */
import { allocatePage, PARALLEL_PAGE, Page, type PageMemory, SERIAL_PAGE } from '../../workers/page.js';

export class Pages {
  readonly #idle: { readonly serial: Page[]; readonly parallel: Page[] } = { serial: [], parallel: [] };
  #count = 0;

  /** A fresh page for `items`; `memory` is set when the thread does not know it yet. */
  take(items: number, parallel: boolean): { readonly page: Page; readonly memory?: PageMemory } {
    const size = parallel && items <= PARALLEL_PAGE.items ? PARALLEL_PAGE : SERIAL_PAGE;
    const known = items <= size.items ? this.#idleOf(size.items).pop() : undefined;
    if (known !== undefined) {
      known.reset(items);
      return { page: known };
    }
    const page = new Page(allocatePage(this.#count++, { ...size, items: Math.max(items, size.items) }));
    return { page, memory: page.memory };
  }

  /** The thread is done with this page. One made for an outsized batch is forgotten. */
  give(page: Page): void {
    this.#idleOf(page.items)?.push(page);
  }

  #idleOf(items: number): Page[] {
    if (items === PARALLEL_PAGE.items) return this.#idle.parallel;
    return items === SERIAL_PAGE.items ? this.#idle.serial : [];
  }
}
