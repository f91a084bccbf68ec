/** Who wants to put tasks in: one task, or a batch as a whole. */
import type { Broker } from '../../broker/broker.js';
import type { NewTask, WhenFull } from '../../task/task.js';

export interface Entrant {
  /** Of a batch one that speaks for all of them. */
  readonly task: NewTask;
  /** Of a batch only. */
  readonly tasks?: readonly NewTask[];
  failed(error: unknown): void;
}

/** How many tasks of each queue want in. */
export type Demand = ReadonlyMap<string, number>;

export function demandOf(tasks: readonly NewTask[]): Demand {
  const demand = new Map<string, number>();
  for (const { queue } of tasks) demand.set(queue, (demand.get(queue) ?? 0) + 1);
  return demand;
}

/** Whether it adds nothing: its unique key leads to a task that is there, or refuses it. */
export function isKnown({ name, unique }: NewTask, broker: Pick<Broker, 'isTaken'>): boolean {
  return unique !== undefined && unique.onConflict !== 'replace' && broker.isTaken(name, unique.key);
}

/** Strictest first: what one task of a batch refuses to do the batch does not do. */
const POLICIES = ['reject', 'wait', 'shed'] as const satisfies readonly WhenFull[];

/** Tasks that come in together or not at all. */
export class BatchEntrant implements Entrant {
  /** Has the highest level, the strictest policy and the first signal of them. */
  readonly task: NewTask;
  readonly tasks: readonly NewTask[];
  /** Who makes way for this level makes way for all of them. */
  readonly lowest: number;
  /** @throws as `Broker.enqueue` */
  readonly place: () => void;
  readonly failed: (error: unknown) => void;

  /** @param byDefault  The policy of tasks that name none. */
  constructor(
    tasks: readonly NewTask[],
    byDefault: WhenFull,
    place: () => void,
    failed: (error: unknown) => void,
  ) {
    const [first] = tasks;
    let { level } = first!;
    let lowest = level;
    for (const task of tasks) {
      if (task.level > level) level = task.level;
      if (task.level < lowest) lowest = task.level;
    }
    const whenFull = POLICIES.find((each) => tasks.some((task) => (task.whenFull ?? byDefault) === each))!;
    const signal = tasks.find((task) => task.signal !== undefined)?.signal;
    this.task = { ...first!, level, whenFull, ...(signal === undefined ? {} : { signal }) };
    this.tasks = tasks;
    this.lowest = lowest;
    this.place = place;
    this.failed = failed;
  }
}
