/** Back-pressure wired to the loops of a coordinator. */
import type { RuntimeOptions } from '../options/types.js';
import type { Coordinator } from './coordinator.js';
import { startedIn } from './pressure/high-water.js';
import { Pressure } from './pressure/pressure.js';

export function openPressure(coordinator: Coordinator, options: RuntimeOptions): Pressure {
  const { broker, clock, events } = coordinator;
  return new Pressure(options, {
    broker,
    clock,
    started: (queue) => startedIn(coordinator.executor.batches, queue),
    keepMs: ({ name, queue, options: own }) =>
      coordinator.registry.entry(name).rulesOf(queue, own).retentionMs.cancelled,
    recall: (below, queue) =>
      coordinator.recall(
        ({ claim }) => claim.level < below && (queue === undefined || claim.queue === queue),
      ),
    place: (entrants) => void coordinator.gather.place(entrants),
    shed(tasks) {
      if (!coordinator.wantsTold()) return;
      const at = clock.now();
      const tell = (): void => {
        for (const task of tasks) coordinator.cancelled(task, at, 'shed');
      };
      broker.settle([]).then(tell, () => {});
    },
    tell(event) {
      if (events.wants(event.kind)) events.tell(event);
    },
  });
}
