/**
 * In which order batches run: serial ones one after the other, parallel ones at once, and all of them after
 * the modules that were being imported when they came, since they may be for the handlers in them. It knows
 * nothing of what runs.
 */
export class Turns {
  /** End of the last serial batch; undefined when none is under way. */
  #tail: Promise<void> | undefined;
  /** End of the last import. */
  #loading: Promise<unknown> | undefined;

  /**
   * Runs at once, or after the modules under way and, if it is serial, after the serial batches before it.
   */
  take(parallel: boolean, run: () => Promise<void>): Promise<void> {
    const before = parallel ? undefined : this.#tail;
    const gate = this.#loading === undefined ? before : Promise.all([before, this.#loading]);
    const ended = gate === undefined ? run() : gate.then(run);
    if (parallel) return ended;
    this.#tail = ended;
    return ended.finally(() => {
      if (this.#tail === ended) this.#tail = undefined;
    });
  }

  /** Imports, one after the other; what comes meanwhile waits. */
  gate<Reply>(load: () => Promise<Reply>): Promise<Reply> {
    const loading = (this.#loading ?? Promise.resolve()).then(load);
    this.#loading = loading;
    return loading.finally(() => {
      if (this.#loading === loading) this.#loading = undefined;
    });
  }
}
