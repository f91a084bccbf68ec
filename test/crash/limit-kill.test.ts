/**
 * A process whose tasks share a token bucket is killed with SIGKILL at random moments, and started again at
 * once. Goal: over all of its lives the starts are those of one bucket; a restart does not fill it. Method:
 * the handlers say when they start, by the wall clock.
 *
 * `KILL_SEED=<n>` repeats the moments as far as a machine can.
 */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { _TELLING } from '../fixtures/limit-tasks.js';
import { Child } from '../runtime/child.js';
import { freshFolder } from '../runtime/harness.js';

const KILLS = Math.ceil(Number(process.env.KILLS ?? 20) / 10);
/** From the moment a token is taken to the word of the handler: a thread may be that late. */
const LATE_MS = 2_000;
const MOST_WAIT_MS = 300;
const seed = Number(process.env.KILL_SEED ?? Date.now() % 1_000_000);

it(`a bucket is one bucket, whenever its process is killed (KILL_SEED=${seed})`, {
  timeout: 20_000 + KILLS * 5_000,
}, async () => {
  const store = join(freshFolder(), 'store');
  const starts: number[] = [];
  for (let life = 0; life <= KILLS; life++) {
    const child = new Child('limit-victim', store);
    // All that the first one may have at once; later ones begin with nothing, or a crash has cost a second.
    await child.lineCount('start', life === 0 ? _TELLING.capacity : 1);
    await new Promise((resolve) => setTimeout(resolve, ((seed * (life + 7)) % 97) * (MOST_WAIT_MS / 97)));
    child.kill('SIGKILL');
    expect([await child.ended, child.errors]).toEqual(['SIGKILL', '']);
    starts.push(...child.lines.map((line) => Number(line.split(' ')[1])));
  }
  starts.sort((a, b) => a - b);
  const { capacity, refillPerSec } = _TELLING;
  let most = 0;
  for (const [first, from] of starts.entries()) {
    for (let last = first; last < starts.length; last++) {
      const refilled = ((starts[last]! - from + LATE_MS) / 1_000) * refillPerSec;
      most = Math.max(most, last - first + 1 - refilled);
    }
  }
  expect(most).toBeLessThanOrEqual(capacity);
  console.log(`killed ${KILLS + 1} times (seed ${seed}): ${starts.length} starts of one bucket`);
});
