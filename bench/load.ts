/** Ways to put load on a subject. Each checks that as many results came back as tasks went out. */
import { perSecond } from './statistics.js';
import type { BenchTask, Subject } from './subject.js';

export interface Load {
  readonly name: string;
  /** Tasks per second. */
  measure(subject: Subject, count: number, task: BenchTask, payload: unknown): Promise<number>;
}

/** All tasks are handed over before the first is awaited. */
export const allAtOnce: Load = {
  name: 'all at once',
  async measure(subject, count, task, payload) {
    const start = performance.now();
    const results = await Promise.all(Array.from({ length: count }, () => subject.run(task, payload)));
    if (results.length !== count) throw new Error('results are missing');
    return perSecond(count, performance.now() - start);
  },
};

/** Each of `clients` waits for its result before it sends the next task. */
export function inFlight(clients: number): Load {
  return {
    name: `${clients} in flight`,
    async measure(subject, count, task, payload) {
      let sent = 0;
      let done = 0;
      const client = async (): Promise<void> => {
        while (sent < count) {
          sent++;
          await subject.run(task, payload);
          done++;
        }
      };
      const start = performance.now();
      await Promise.all(Array.from({ length: Math.min(clients, count) }, client));
      if (done !== count) throw new Error(`${done} results for ${count} tasks`);
      return perSecond(count, performance.now() - start);
    },
  };
}
