/**
 * The process of a schedule that fires ten times a second is killed with SIGKILL at random moments. Goal:
 * each fire is enqueued exactly once, those among them that passed while no process was there. Method: all
 * tasks of all lives wait in a paused queue and say which fire they are of; what the victims had said was
 * accepted must be there.
 *
 * `KILL_SEED=<n>` repeats the moments as far as a machine can.
 */

import { join } from 'node:path';
import { expect, it } from 'vitest';
import { seeded } from '#src/testing/seeded.js';
import { Child } from '../runtime/child.js';
import { freshFolder, open } from '../runtime/harness.js';

const KILLS = Math.ceil(Number(process.env.KILLS ?? 20) / 7);
const EVERY_MS = 100;
const MOST_FIRES = 6;
const MOST_WAIT_MS = 120;
const seed = Number(process.env.KILL_SEED ?? Date.now() % 1_000_000);

it(`each fire is enqueued once, whenever its process is killed (KILL_SEED=${seed})`, {
  timeout: 20_000 + KILLS * 5_000,
}, async () => {
  const random = seeded(seed);
  const store = join(freshFolder(), 'store');
  const said = new Map<number, string>();
  for (let life = 0; life < KILLS; life++) {
    const child = new Child('schedule-victim', store);
    await child.lineCount('fired', 1 + Math.floor(random() * MOST_FIRES));
    await new Promise((resolve) => setTimeout(resolve, random() * MOST_WAIT_MS));
    child.kill('SIGKILL');
    expect([await child.ended, child.errors]).toEqual(['SIGKILL', '']);
    for (const line of child.lines) {
      const [, fireAt, taskId] = line.split(' ');
      // Told once, by one life.
      expect(said.has(Number(fireAt))).toBe(false);
      said.set(Number(fireAt), taskId!);
    }
  }
  const runtime = await open(store, { autostart: false, queues: { default: { paused: true } } });
  const { tasks, after } = await runtime.list({}, { limit: 1_000 });
  expect(after).toBeUndefined();
  const ids = new Map(tasks.map(({ id, schedule }) => [schedule!.fireAt, id]));
  const fires = [...ids.keys()].sort((a, b) => a - b);
  expect(fires).toHaveLength(tasks.length);
  // None is missing and none is there twice, from the first life to the last.
  expect(fires).toEqual(fires.map((_, at) => fires[0]! + at * EVERY_MS));
  for (const [fireAt, id] of said) expect(ids.get(fireAt)).toBe(id);
  const last = fires.at(-1)!;
  const schedule = await runtime.schedules.get('often');
  expect(schedule).toMatchObject({ runs: fires.length, lastFireAt: last, lastTaskId: ids.get(last) });
  console.log(`killed ${KILLS} times (seed ${seed}): ${fires.length} fires, each enqueued once`);
});
