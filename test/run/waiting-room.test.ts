/** Who waits for room and who comes next, against a list that is sorted anew each time. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Entrant } from '#src/run/pressure/entrant.js';
import { WaitingRoom } from '#src/run/pressure/waiting-room.js';
import type { NewTask } from '#src/task/task.js';

interface Guest extends Entrant {
  readonly serial: number;
  readonly controller: AbortController;
  outcome: unknown;
}

function guest(serial: number, queues: readonly string[], level: number): Guest {
  const controller = new AbortController();
  const tasks = queues.map((queue): NewTask => {
    return { name: 'task', queue, level, body: new Uint8Array(10), signal: controller.signal };
  });
  const made: Guest = {
    ...{ serial, controller, task: tasks[0]!, outcome: undefined },
    ...(tasks.length > 1 ? { tasks } : {}),
    failed(error) {
      made.outcome = error;
    },
  };
  return made;
}

const queuesOf = ({ task, tasks = [task] }: Entrant) => [...new Set(tasks.map(({ queue }) => queue))];

/** By level, then first come; those behind somebody who may not enter are left out, per queue. */
function nextOf(waiting: readonly Guest[], closed: ReadonlySet<string>, most: number): Guest[] {
  const order = [...waiting].sort((a, b) => b.task.level - a.task.level || a.serial - b.serial);
  const passed = new Set<string>();
  const isSeveral = (each: Guest): boolean => queuesOf(each).length > 1;
  return order
    .filter((each) => {
      const line = isSeveral(each) ? 'several' : each.task.queue;
      if (passed.has(line)) return false;
      if (!queuesOf(each).some((queue) => closed.has(queue))) return true;
      for (const queue of [line, ...queuesOf(each)]) passed.add(queue);
      return false;
    })
    .slice(0, most);
}

const enter = fc.record({
  kind: fc.constant('enter' as const),
  queues: fc.constantFrom(['a'], ['a'], ['b'], ['c'], ['a', 'a'], ['a', 'b']),
  level: fc.constantFrom(1, 5, 5, 9),
});
const abort = fc.record({ kind: fc.constant('abort' as const), at: fc.nat(20) });
const letIn = fc.record({
  kind: fc.constant('let in' as const),
  most: fc.constantFrom(1, 3, 50),
  closed: fc.subarray(['a', 'b', 'c']),
  /** The broker takes no more from this one on. */
  refusedFrom: fc.constantFrom(0, 1, 2, 100),
});

describe('a waiting room', () => {
  it('law: lets in by level and then first come, and those that are refused stand where they stood', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(enter, enter, abort, letIn), { maxLength: 60 }), (steps) => {
        const room = new WaitingRoom(1_000, 1e6);
        let waiting: Guest[] = [];
        let serial = 0;
        for (const step of steps) {
          if (step.kind === 'enter') {
            const comes = guest(serial++, step.queues, step.level);
            room.enter(comes);
            waiting.push(comes);
          } else if (step.kind === 'abort') {
            const leaves = waiting[step.at % Math.max(1, waiting.length)];
            leaves?.controller.abort(leaves.serial);
            if (leaves !== undefined) expect(leaves.outcome).toBe(leaves.serial);
            waiting = waiting.filter((each) => each !== leaves);
          } else {
            const closed = new Set(step.closed);
            const came: Entrant[] = [];
            let tried = 0;
            const count = room.letIn(
              step.most,
              ({ demand }) => ([...demand.keys()].some((queue) => closed.has(queue)) ? 'pass' : 'yes'),
              (entrants) => {
                for (const each of entrants) {
                  if (tried++ < step.refusedFrom) came.push(each);
                  else expect(room.refused(each)).toBe(true);
                }
              },
            );
            const expected = nextOf(waiting, closed, step.most).slice(0, step.refusedFrom);
            expect(came).toEqual(expected);
            expect(count).toBe(expected.length);
            waiting = waiting.filter((each) => !expected.includes(each));
          }
          expect(room.count).toBe(waiting.length);
          for (const queue of ['a', 'b', 'c']) {
            const isBefore = waiting.some(
              (each) => each.task.level >= 5 && (queuesOf(each).length > 1 || each.task.queue === queue),
            );
            expect(room.isBefore(queue, 5)).toBe(isBefore);
          }
        }
        room.close(new Error('over'));
        for (const each of waiting) expect(each.outcome).toEqual(new Error('over'));
        expect(room.count).toBe(0);
      }),
      { numRuns: 300, verbose: 1 },
    );
  });

  it('forgets those who give up, however long the first one stays', () => {
    const room = new WaitingRoom(10, 1e6);
    room.enter(guest(0, ['a'], 5));
    for (let serial = 1; serial < 10_000; serial++) {
      const comes = guest(serial, ['a'], 5);
      room.enter(comes);
      comes.controller.abort();
    }
    expect(room.count).toBe(1);
  });
});
