/**
 * An order in which every node of a flow stands behind those it waits for, or a cycle. Linear in nodes and
 * edges, and without recursion: a chain may have millions of steps.
 */

/** What the order needs to know of a graph. */
export interface Graph {
  readonly size: number;
  /** The places that `place` waits for. */
  parentsOf(place: number): readonly number[];
}

const UNSEEN = 0;
const ENTERED = 1;
const DONE = 2;

/**
 * Places in an order with parents before children that keeps to the given one where it can.
 * @returns  `undefined` when the given order is such a one; a list of places for a cycle: each waits for the
 *   one before it, and the first for the last.
 */
export function orderOf(graph: Graph): { order: Int32Array } | { cycle: readonly number[] } | undefined {
  if (isOrdered(graph)) return undefined;
  const order = new Int32Array(graph.size);
  const state = new Uint8Array(graph.size);
  const path: number[] = [];
  /** How many parents of each place in `path` have been looked at. */
  const looked: number[] = [];
  let placed = 0;
  for (let root = 0; root < graph.size; root++) {
    if (state[root] !== UNSEEN) continue;
    path.push(root);
    looked.push(0);
    state[root] = ENTERED;
    while (path.length > 0) {
      const place = path.at(-1)!;
      const parent = graph.parentsOf(place)[looked[looked.length - 1]!++];
      if (parent === undefined) {
        state[place] = DONE;
        order[placed++] = place;
        path.pop();
        looked.pop();
      } else if (state[parent] === ENTERED) {
        return { cycle: fromFirst(path.slice(path.indexOf(parent)).reverse()) };
      } else if (state[parent] === UNSEEN) {
        state[parent] = ENTERED;
        path.push(parent);
        looked.push(0);
      }
    }
  }
  return { order };
}

function isOrdered({ size, parentsOf }: Graph): boolean {
  for (let place = 0; place < size; place++) {
    for (const parent of parentsOf(place)) if (parent >= place) return false;
  }
  return true;
}

/** The cycle from the place that was there first. */
function fromFirst(cycle: readonly number[]): readonly number[] {
  let first = 0;
  for (let at = 1; at < cycle.length; at++) if (cycle[at]! < cycle[first]!) first = at;
  return [...cycle.slice(first), ...cycle.slice(0, first)];
}
