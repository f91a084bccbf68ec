/** Less important tasks make way for more important ones: those that threads have not started as well. */
import type { Broker, ShedTask } from '../../broker/broker.js';
import type { Clock } from '../../clock.js';

export interface MakingWay {
  readonly broker: Pick<Broker, 'shed'>;
  readonly clock: Clock;
  /** How long a task that was shed stays listed. */
  keepMs(task: ShedTask): number;
  /** Threads give back tasks below this level that they have not started. */
  recall(below: number, queue: string | undefined): void;
  /** These have made way. */
  shed(tasks: readonly ShedTask[]): void;
}

/**
 * Sheds up to `most` tasks below a level, or none when there are fewer than `least`.
 * @param queue  Whose; `undefined` for all.
 * @returns how many.
 */
export function makeWay(
  host: MakingWay,
  queue: string | undefined,
  below: number,
  most: number,
  least: number,
): number {
  const keepMs = (task: ShedTask): number => host.keepMs(task);
  const request = { ...(queue === undefined ? {} : { queue }), below, now: host.clock.now(), keepMs };
  const shed = [...host.broker.shed({ ...request, most, least })];
  if (shed.length < most) {
    // Some may be in hand, and not started.
    host.recall(below, queue);
    const left = { most: most - shed.length, least: Math.max(1, least - shed.length) };
    shed.push(...host.broker.shed({ ...request, ...left }));
  }
  if (shed.length > 0) host.shed(shed);
  return shed.length;
}
