/**
 * Random commands to a backend and to a naive model of it must have the same answers; after each flush every
 * row is checked. A failure prints seed, path and commands: give `seed` and `path` to `fc.assert` to see it
 * again.
 */
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { limitLane } from '#src/task/lane.js';
import { CLAIM_MODES } from './claim-modes.js';
import { type Disk, LmdbDisk, MemoryDisk } from './disks.js';
import { type Ending, Rig, type Staged } from './rig.js';

type Step = fc.AsyncCommand<object, Rig>;

function step(name: string, run: (rig: Rig) => unknown): Step {
  return { check: () => true, run: async (_, rig) => void (await run(rig)), toString: () => name };
}

/** Mostly one line, so that segments hold many tasks. */
const level = fc.constantFrom(5, 5, 5, 5, 5, 5, 9, 0);
const unique = fc.record(
  {
    key: fc.constantFrom('k', 'l'),
    onConflict: fc.constantFrom('keep', 'replace', 'reject'),
    forMs: fc.constantFrom(3_000, 50_000),
  },
  { requiredKeys: ['key', 'onConflict'] },
);
interface Draft {
  readonly name: string;
  readonly queue: string;
  readonly level: number;
  readonly delay?: number;
  readonly startAfterCommit?: boolean;
  readonly unhandled?: boolean;
  readonly key?: string;
  readonly size?: number;
  readonly unique?: { key: string; onConflict: 'keep' | 'replace' | 'reject'; forMs?: number };
}
const plain = {
  name: fc.constantFrom('t', 't', 'x'),
  queue: fc.constantFrom('a', 'a', 'a', 'b'),
  level,
};
const special = {
  ...plain,
  delay: fc.integer({ min: 1, max: 20 }),
  startAfterCommit: fc.boolean(),
  unhandled: fc.boolean(),
  key: fc.constantFrom('p', 'p', 'q', ''),
  /** Of the payload, and about that of the result: kept in files. */
  size: fc.constantFrom(0, 0, 0, 0, 0, 0, 20_000, 20_000, 400_000, 1_100_000),
  unique,
};
const limited = { ...plain, key: fc.constantFrom('p', 'p', 'q') };
const draft = fc.oneof(
  { weight: 3, arbitrary: fc.record(plain) },
  { weight: 2, arbitrary: fc.record(limited) },
  { weight: 1, arbitrary: fc.record(special, { requiredKeys: ['name', 'queue', 'level'] }) },
) as fc.Arbitrary<Draft>;
const keepMs = fc.constantFrom(0, 0, 5_000, 1e8, Number.POSITIVE_INFINITY);

/** Due times that are all different, so that their order is known. */
let dueSerial = 0;

function shapeOf({ delay, unhandled, key, ...shape }: Draft, now: number) {
  return {
    ...shape,
    ...(delay === undefined ? {} : { runAt: now + delay * 1_000 + (dueSerial++ % 997) }),
    ...(key === undefined ? {} : { lane: limitLane(shape.name, key) }),
    ...(unhandled === true && shape.name === 'x' ? { unhandled } : {}),
  };
}

const work: fc.Arbitrary<Step>[] = [
  fc
    .array(draft, { minLength: 1, maxLength: 12 })
    .map((drafts) =>
      step(`enqueue ${JSON.stringify(drafts)}`, (rig) =>
        rig.enqueue(drafts.map((each) => shapeOf(each, rig.model.now))),
      ),
    ),
  fc
    .tuple(
      fc.integer({ min: 1, max: 9 }),
      fc.oneof({ weight: 2, arbitrary: fc.constant('take' as const) }, fc.constantFrom(...CLAIM_MODES)),
    )
    .map(([max, mode]) => step(`claim ${max}, ${mode}`, (rig) => rig.claim(max, mode))),
  fc
    .tuple(
      fc.constantFrom<Ending>(
        'complete',
        'complete',
        'complete with a note',
        'bury',
        'cancel',
        'release',
        'retry',
      ),
      fc.integer({ min: 0, max: 0xffff }),
      fc.integer({ min: 0, max: 20 }),
      keepMs,
    )
    .map(([ending, picks, delay, keep]) =>
      step(`${ending} ${picks} delay ${delay} keep ${keep}`, (rig) => rig.settle(ending, picks, delay, keep)),
    ),
];

const rest: fc.Arbitrary<Step>[] = [
  fc
    .tuple(
      fc.array(draft, { minLength: 1, maxLength: 40 }),
      fc.constantFrom<Staged>('accept', 'accept', 'accept', 'abandon', 'crash', 'reopen'),
    )
    .map(([drafts, ending]) =>
      step(`stage ${JSON.stringify(drafts)}, ${ending}`, (rig) =>
        rig.stage(
          drafts.map(({ unique: _, ...each }) => shapeOf(each, rig.model.now)),
          ending,
        ),
      ),
    ),
  fc
    .tuple(fc.constantFrom('cancel', 'redrive', 'delete'), fc.nat(200), keepMs)
    .map(([verb, pick, keep]) =>
      step(`${verb} ${pick} keep ${keep}`, (rig) => rig.act(verb as 'cancel', pick, keep)),
    ),
  fc
    .tuple(fc.integer({ min: 1, max: 9 }), fc.constantFrom(1, 3, 100), keepMs)
    .map(([below, most, keep]) =>
      step(`shed ${most} below ${below} keep ${keep}`, (rig) => rig.shed(below, most, keep)),
    ),
  fc
    .tuple(fc.integer({ min: 0, max: 15_000 }), fc.constantFrom(1, 3, 100))
    .map(([ms, limit]) => step(`tick ${ms}, promote ${limit}`, (rig) => rig.tick(ms, limit))),
  fc
    .tuple(fc.constantFrom(0, 3_000, 70_000), fc.constantFrom(1, 1_000))
    .map(([ms, limit]) => step(`tick ${ms}, prune ${limit}`, (rig) => rig.prune(ms, limit))),
  fc
    .tuple(fc.nat(200), fc.boolean())
    .map(([pick, byTicket]) => step(`wait ${pick} ${byTicket}`, (rig) => rig.wait(pick, byTicket))),
  fc.nat(50).map((pick) => step(`settle again ${pick}`, (rig) => rig.settleAgain(pick))),
  fc.constantFrom('p', 'a ', '\0').map((part) => step(`close ${part}`, (rig) => rig.gate.close(part))),
  fc.constantFrom('all', 'queue a').map((what) => step(`resume ${what}`, (rig) => rig.resume(what as 'all'))),
  fc.boolean().map((isReleased) => step(`turn ${isReleased}`, (rig) => rig.turn(isReleased))),
  fc.constant(step('flush', (rig) => rig.flush())),
  fc.constant(step('verify', (rig) => rig.verify())),
  fc.constant(step('reopen', (rig) => rig.reopen())),
  fc.constant(step('crash', (rig) => rig.crash())),
];

function law(makeDisk: () => Disk, numRuns: number): Promise<void> {
  const property = fc.asyncProperty(
    fc.commands([...work, ...work, ...rest], { maxCommands: 60, size: 'max' }),
    fc.constantFrom(1, 4, 8, 20_000),
    async (commands, windowTasks) => {
      const disk = makeDisk();
      const rig = new Rig(disk, windowTasks);
      try {
        await rig.open();
        await fc.asyncModelRun(() => ({ model: {}, real: rig }), commands);
        await rig.finish();
      } finally {
        await disk.destroy();
      }
    },
  );
  return fc.assert(property, { numRuns, verbose: 1, endOnFailure: process.env.SHRINK === undefined });
}

describe('a backend and its model', () => {
  const runs = Number(process.env.MODEL_RUNS ?? 1);

  const timeout = 60_000 * runs;

  it('agree in memory, with commits that end when they like', { timeout }, () =>
    law(() => new MemoryDisk(), 200 * runs),
  );
  it('agree on LMDB', { timeout }, () => law(() => new LmdbDisk(), 30 * runs));
});
