/**
 * Hundreds of scenarios, and thousands in the long run; a failure says its seed:
 * `SEED=123 npx vitest run test/limit/scenario.test.ts` runs it alone.
 */
import { expect, it } from 'vitest';
import { Scenario } from './scenario.js';

const SEEDS = 1_000 * Number(process.env.MODEL_RUNS ?? 0.2);

it('exceeds no limit, lets no ready task wait in vain, and completes all', async () => {
  const only = process.env.SEED;
  const first = only === undefined ? Math.floor(Math.random() * 1e9) : Number(only);
  let [starts, looks] = [0, 0];
  for (let seed = first; seed < first + (only === undefined ? SEEDS : 1); seed++) {
    const scenario = new Scenario(seed);
    try {
      await scenario.run();
    } catch (cause) {
      throw new Error(`seed ${seed}: ${(cause as Error).message}`, { cause });
    }
    starts += scenario.starts;
    looks += scenario.looks;
  }
  if (only === undefined) {
    console.log(`${SEEDS} scenarios from seed ${first}: ${starts} starts`);
    expect(starts).toBeGreaterThan(SEEDS * 5);
    expect(looks).toBeGreaterThan(SEEDS * 5);
  }
}, 300_000);

it.each([113_176, 502_891, 503_015])(
  'ends scenario %i, which once went round for ever, or stood still',
  async (seed) => {
    await new Scenario(seed).run();
  },
);
