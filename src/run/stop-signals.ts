/** What stops a runtime beside a call: the process signals and the abort signal that its options name. */
import type { RuntimeOptions, StopSignal } from '../options/types.js';

/** npm and shells pass one Ctrl-C on twice, milliseconds apart: that is no second request. */
const REPEAT_MS = 300;

export interface Stoppable {
  stop(): Promise<unknown>;
  /** Ends the grace of a stop under way, if there is one. */
  hurry(): void;
}

export class StopSignals {
  readonly #options: Pick<RuntimeOptions, 'stopOn' | 'signal' | 'logger' | 'clock'>;
  #forget: (() => void)[] = [];

  constructor(options: Pick<RuntimeOptions, 'stopOn' | 'signal' | 'logger' | 'clock'>) {
    this.#options = options;
  }

  listen(stoppable: Stoppable): void {
    const { stopOn, signal, logger, clock } = this.#options;
    let heardAt = Number.NEGATIVE_INFINITY;
    const stop = (): void => {
      const at = clock.monotonic();
      if (at - heardAt <= REPEAT_MS) return;
      heardAt = at;
      stoppable.hurry();
      stoppable.stop().catch((error) => logger.error({ error: String(error) }, 'stop failed'));
    };
    for (const name of stopOn as readonly StopSignal[]) {
      const onSignal = (): void => stop();
      process.on(name, onSignal);
      this.#forget.push(() => process.off(name, onSignal));
    }
    if (signal === undefined) return;
    signal.addEventListener('abort', stop, { once: true });
    this.#forget.push(() => signal.removeEventListener('abort', stop));
  }

  forget(): void {
    for (const forget of this.#forget) forget();
    this.#forget = [];
  }
}
