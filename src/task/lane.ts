/**
 * Names of lanes: tasks of one queue that wait together, in enqueue order, and beside which others go on.
 * Names of tasks hold no NUL, so these never meet. What limits a lane is not known here.
 *
 *     ''           plain: tasks without a limit of their own
 *     name         aside: tasks of this name, which nobody handles
 *     name \0 key  limit: tasks of a name that has limits, and their limit key; without one it is ''
 */

/** What the tasks of a lane have in common. */
export type LaneKind = 'plain' | 'aside' | 'limit';

const SEPARATOR = '\0';

/** The lane of tasks of a name that has limits. @param key  Their limit key; `''` is none. */
export function limitLane(name: string, key = ''): string {
  return name + SEPARATOR + key;
}

export function laneKind(lane: string): LaneKind {
  if (lane === '') return 'plain';
  return lane.includes(SEPARATOR) ? 'limit' : 'aside';
}
