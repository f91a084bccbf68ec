/** Turns of lanes: the arithmetic beside what the conformance suite and the property test say. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { LevelOrder } from '#src/broker/embedded/level-order.js';
import { LEVELS, type LevelQueue, Line, type QueueLines } from '#src/broker/embedded/line.js';
import { Look } from '#src/broker/embedded/look.js';
import { Segment } from '#src/broker/embedded/segment.js';
import { isBefore, LaneTurn, LevelTime, TurnHeap } from '#src/broker/embedded/turns.js';
import { limitLane } from '#src/task/lane.js';

function turnsIn(time: LevelTime, count: number): LaneTurn[] {
  return Array.from({ length: count }, () => {
    const turn = new LaneTurn(undefined);
    time.enter(turn);
    return turn;
  });
}

function newSiblings(): QueueLines {
  return { number: 0, name: 'q', skippedIn: 0, turns: new Array(LEVELS) };
}

/** A lane with a task. */
function list(order: LevelOrder, siblings: QueueLines, key: string): LevelQueue {
  const queue = new Line(siblings, key, limitLane('t', key)).at(5);
  const segment = new Segment(1, queue, 0, 'tasks');
  segment.addTask(0, Buffer.alloc(1));
  queue.insert(segment);
  order.add(queue);
  return queue;
}

describe('turns', () => {
  it('law: a heap has the lowest pass on top, whatever is added, moved or removed', () => {
    const change = fc.tuple(fc.constantFrom('add', 'move', 'remove'), fc.nat(30), fc.nat(8));
    const law = fc.property(fc.array(change, { maxLength: 120 }), (changes) => {
      const heap = new TurnHeap();
      const turns: LaneTurn[] = [];
      let serial = 0;
      for (const [kind, pick, pass] of changes) {
        const turn = turns[pick % Math.max(1, turns.length)];
        if (kind === 'add' || turn === undefined) {
          const added = Object.assign(new LaneTurn(undefined), { pass, serial: serial++ });
          turns.push(added);
          heap.add(added);
        } else if (kind === 'move') {
          turn.pass = pass;
          heap.moved(turn);
        } else {
          turns.splice(turns.indexOf(turn), 1);
          heap.remove(turn);
          assert.equal(turn.at, -1);
        }
        const [lowest] = [...turns].sort((a, b) => a.pass - b.pass || a.serial - b.serial);
        assert.equal(heap.top, lowest);
        assert.equal([...heap].length, turns.length);
      }
    });
    fc.assert(law, { numRuns: 500, verbose: 1 });
  });

  it('come in at the time, or later when they had more than their share', () => {
    const time = new LevelTime();
    const [a, b] = turnsIn(time, 2) as [LaneTurn, LaneTurn];
    time.took(a, 1, 3);
    time.enter(a);
    assert.ok(isBefore(b, a));
    time.took(b, 4, 1);
    for (let at = 0; at < 8; at++) time.took(b, 4, 1);
    const late = new LaneTurn(undefined);
    time.enter(late);
    assert.ok(late.pass > 0 && isBefore(a, late) && isBefore(late, b));
  });

  it('of lanes that are forgotten go when their time has come, however many new ones come in', () => {
    const order = new LevelOrder(5);
    const siblings = newSiblings();
    const look = new Look(() => true);
    let most = 0;
    for (let round = 0; round < 3_000; round++) {
      list(order, siblings, `${round}`);
      if (round < 3) continue;
      look.begin();
      const best = order.best(look)!;
      order.took(best, 1);
      order.forget(best);
      most = Math.max(most, siblings.turns[5]!.forgotten.size);
    }
    assert.ok(most > 0 && most < 100, `${most} forgotten`);
  });

  it('of those passed over are not lost when the time is set back meanwhile', () => {
    const order = new LevelOrder(5);
    const siblings = newSiblings();
    const look = new Look(() => true);
    const [a, b] = [list(order, siblings, 'a'), list(order, siblings, 'b')];
    order.took(a, 2 ** -33);
    order.took(b, 2 ** -33);
    look.begin();
    order.passOver(b, look);
    order.took(a, 1);
    order.restore(b);
    assert.ok(b.turn!.pass < 2 ** 22, `${b.turn!.pass}`);
  });

  it('go on in their order when the time is set back', () => {
    const time = new LevelTime();
    const [a, b, c, away] = turnsIn(time, 4) as [LaneTurn, LaneTurn, LaneTurn, LaneTurn];
    assert.equal(time.took(away, 1, 3), false);
    assert.equal(time.took(a, 2 ** -33, 3), false);
    assert.equal(time.took(a, 1, 3), true);
    time.took(b, 1, 3);
    time.enter(c);
    time.took(c, 2, 3);
    time.setBack([a, b, c]);
    assert.ok(a.pass < 2 ** 22 && isBefore(c, a) && isBefore(a, b), `${a.pass} ${b.pass} ${c.pass}`);
    time.enter(away);
    assert.ok(isBefore(away, c), 'who was away has no debts from before');
  });
});
