/**
 * One look at a schedule: asks the pure algorithm what is to be done, with what it needs to know of this
 * runtime, and makes the tasks of the fires. Nothing is stored here.
 */
import type { Backend } from '../../broker/broker.js';
import type { RuntimeOptions } from '../../options/types.js';
import type { Decision } from '../../schedule/decide.js';
import { isFinal, type NewTask, type TaskId } from '../../task/task.js';
import type { Front } from '../front.js';
import type { StoredSchedule } from './fact.js';

export interface LookHost {
  readonly backend: Pick<Backend, 'inspect'>;
  readonly options: Pick<RuntimeOptions, 'clock' | 'calendars'>;
  readonly front: Pick<Front, 'fromSchedule'>;
}

export interface Decided {
  readonly decision: Decision;
  /** Of its fires, in order. */
  readonly tasks: readonly NewTask[];
}

/** Loaded with the first schedule. */
const loadAlgorithms = () =>
  Promise.all([import('../../schedule/decide.js'), import('../../schedule/occurrences.js')]);

/** What a schedule does now. */
export async function decideNow(id: string, schedule: StoredSchedule, host: LookHost): Promise<Decided> {
  const [{ decide, stuck }, { storedOccurrences }] = await loadAlgorithms();
  const { rule, plan, state, task, lastTaskId } = schedule;
  const { clock, calendars } = host.options;
  const occurrences = storedOccurrences(rule, id, calendars);
  const now = clock.now();
  let decision = decide(id, occurrences, plan, state, now, false);
  if (plan.overlap !== 'allow' && decision.fires.length > 0 && (await isOpen(lastTaskId, host))) {
    decision = decide(id, occurrences, plan, state, now, true);
  }
  try {
    const tasks = decision.fires.map((fireAt) => host.front.fromSchedule(task, { id, fireAt }));
    return { decision, tasks };
  } catch (error) {
    // For example a limit that came later, and finds no key in the payload.
    const reason = error instanceof Error ? error.message : String(error);
    return { decision: stuck(state, `its task cannot be made: ${reason}`, now), tasks: [] };
  }
}

async function isOpen(id: TaskId | undefined, { backend }: LookHost): Promise<boolean> {
  const view = id === undefined ? undefined : await backend.inspect?.get(id, 'brief');
  return view !== undefined && !isFinal(view.state);
}
