/** Random graphs, outcomes, cancels, redrives, additions and deaths of the owner, against a plain model. */
import { describe, it } from 'vitest';
import { seeded } from '../fixtures/kill-oracle.js';
import { FlowRig } from './flow-rig.js';

const RUNS = Number(process.env.MODEL_RUNS ?? 1) * 20;
const SEED = Number(process.env.SEED ?? 20_261_127);
const ACTIONS = 60;
/** Reading the whole store is most of the work: the quick run does so behind every fourth action. */
const LOOK_EVERY = process.env.MODEL_RUNS === undefined ? 4 : 1;

async function runOne(seed: number): Promise<void> {
  const random = seeded(seed);
  const flowSteps = [1, 2, 5, 1_000][Math.floor(random() * 4)]!;
  const flowRows = [3, 20_000][Math.floor(random() * 2)]!;
  const flowChunk = [3, 65_535][Math.floor(random() * 2)]!;
  const rig = new FlowRig(random, { flowSteps, flowRows, flowChunk });
  await rig.open();
  await rig.outside();
  await rig.flow();
  await rig.idle();
  for (let at = 0; at < ACTIONS; at++) {
    await act(rig, random());
    // Every other time the next owner goes on with what the last one left unfinished.
    if (random() < 0.06) await (random() < 0.5 ? rig.crash() : rig.reopen());
    await rig.idle();
    if (at % LOOK_EVERY === LOOK_EVERY - 1) await rig.check();
  }
  await rig.close();
}

async function act(rig: FlowRig, what: number): Promise<void> {
  if (what < 0.3) return rig.claim();
  if (what < 0.34) return rig.outside();
  if (what < 0.4) return rig.flow();
  const before = rig.below(20) === 0 ? rig.model.clone() : undefined;
  const done = change(rig, what);
  if (done === undefined) return;
  if (before !== undefined) {
    // It dies before anything of it is flushed.
    Promise.resolve(done).catch(() => {});
    return rig.crash(before);
  }
  await done;
}

function change(rig: FlowRig, what: number): Promise<unknown> | undefined {
  if (what < 0.8) return rig.finish();
  if (what < 0.86) return rig.cancel();
  if (what < 0.91) return rig.redrive();
  if (what < 0.94) return rig.cancelFlow();
  return what < 0.98 ? rig.redriveFlow() : rig.deleteFlow();
}

describe('flows and their model', () => {
  it(`agree over ${RUNS} runs from seed ${SEED}`, { timeout: 60_000 * Math.ceil(RUNS / 20) }, async () => {
    for (let run = 0; run < RUNS; run++) {
      try {
        await runOne(SEED + run);
      } catch (error) {
        throw new Error(`flows and their model disagree: SEED=${SEED + run}`, { cause: error });
      }
    }
  });
});
