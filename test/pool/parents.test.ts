/** `context.parents` between a handler and its host, and tasks that a handler adds to its flow. */
import { describe, expect, it } from 'vitest';
import { encodeValue } from '#src/task/codec.js';
import type { ParentsPage, ParentsRequest, ParentView } from '#src/task/parents.js';
import { ISOLATIONS, openPool, resultOf, TASK_ID, type TestPool } from './harness.js';

const done = (value: unknown): ParentView => ({
  id: TASK_ID,
  state: 'completed',
  result: encodeValue(value).slice(),
});
const DEAD: ParentView = {
  id: TASK_ID,
  state: 'dead',
  reason: 'failed',
  error: { name: 'RangeError', message: 'too far', code: 'E_FAR' },
};
const CANCELLED: ParentView = { id: TASK_ID, state: 'cancelled', reason: 'cancelled' };
const EXPIRED: ParentView = { id: TASK_ID, state: 'expired' };
const REDRIVEN: ParentView = { id: TASK_ID, state: 'ready' };

/** Answers with these pages, one after the other. */
function answer(pool: TestPool, ...pages: readonly (readonly ParentView[])[]): ParentsRequest[] {
  const asked: ParentsRequest[] = [];
  pool.answerParents = async (request): Promise<ParentsPage> => {
    asked.push(request);
    const at = Number(request.after ?? 0);
    const parents = pages[at] ?? [];
    return at + 1 < pages.length ? { parents, after: String(at + 1) } : { parents };
  };
  return asked;
}

describe.each(ISOLATIONS)('context.parents (%s)', (isolation) => {
  it('yields results in order, page by page', async () => {
    const pool = await openPool({ isolation });
    const bytes = new Uint8Array([1, 2, 3]);
    const asked = answer(pool, [done({ a: 1n }), done(undefined)], [], [done(bytes)]);
    expect(await pool.result({ name: 'gathers', payload: { label: 'pages' } })).toEqual([
      { a: 1n },
      undefined,
      bytes,
    ]);
    expect(asked).toEqual([
      { label: 'pages' },
      { label: 'pages', after: '1' },
      { label: 'pages', after: '2' },
    ]);
  });

  it('asks for no page beyond the one that is read, and has no first where there is none', async () => {
    const pool = await openPool({ isolation });
    const asked = answer(pool, [done(1), done(2)], [done(3)]);
    expect(await pool.result({ name: 'gathers', payload: { label: 'a', most: 2 } })).toEqual([1, 2]);
    expect(await pool.result({ name: 'takesFirst', payload: 'a' })).toBe(1);
    expect(asked).toEqual([{ label: 'a' }, { label: 'a' }]);
    answer(pool, []);
    await expect(pool.result({ name: 'takesFirst', payload: 'a' })).rejects.toMatchObject({
      code: 'ERR_MILLRACE_INVALID_ARGUMENT',
      argument: 'label',
    });
  });

  const ENDS: readonly [parent: ParentView, error: object][] = [
    [
      DEAD,
      {
        code: 'ERR_MILLRACE_TASK_DEAD',
        reason: 'failed',
        cause: expect.objectContaining({ name: 'RangeError', message: 'too far', code: 'E_FAR' }),
      },
    ],
    [CANCELLED, { code: 'ERR_MILLRACE_TASK_CANCELLED' }],
    [EXPIRED, { code: 'ERR_MILLRACE_RESULT_EXPIRED' }],
    [REDRIVEN, { code: 'ERR_MILLRACE_WRONG_STATE', state: 'ready' }],
  ];

  it('throws at a parent that did not complete', async () => {
    const pool = await openPool({ isolation });
    for (const [parent, error] of ENDS) {
      answer(pool, [done(1), parent]);
      const finished = await pool.run({ name: 'gathers', payload: { label: 'a' } });
      expect(finished.outcome).toMatchObject({ kind: 'failed', retryable: true });
      expect(() => resultOf(finished)).toThrow(expect.objectContaining({ taskId: TASK_ID, ...error }));
    }
  });

  it('with outcomes: says how each parent ended', async () => {
    const pool = await openPool({ isolation });
    answer(
      pool,
      [done(1)],
      ENDS.map(([parent]) => parent),
    );
    expect(await pool.result({ name: 'gathers', payload: { label: 'a', outcomes: true } })).toEqual([
      { id: TASK_ID, state: 'completed', result: 1 },
      ...ENDS.map(([parent]) => parent),
    ]);
  });

  it('rejects with the error of the host', async () => {
    const pool = await openPool({ isolation });
    pool.answerParents = () => Promise.reject(Object.assign(new Error('gone'), { code: 'E_GONE' }));
    const reading = { name: 'gathers', payload: { label: 'a' } };
    await expect(pool.result(reading)).rejects.toMatchObject({ message: 'gone', code: 'E_GONE' });
    pool.answerParents = () => {
      throw new Error('at once');
    };
    await expect(pool.result(reading)).rejects.toThrow('at once');
  });

  it('refuses what is no label and unknown options, without a word to the host', async () => {
    const pool = await openPool({ isolation });
    const asked = answer(pool, [done(1)]);
    await expect(pool.result({ name: 'takesFirst', payload: 'two words' })).rejects.toMatchObject({
      code: 'ERR_MILLRACE_INVALID_NAME',
    });
    await expect(pool.result({ name: 'misreads', payload: { outcome: true } })).rejects.toMatchObject({
      nearest: 'outcomes',
    });
    expect(asked).toEqual([]);
  });
});

describe.each(ISOLATIONS)('context.enqueue with inFlow (%s)', (isolation) => {
  it('goes with the result, and says so', async () => {
    const pool = await openPool({ isolation });
    const { extras } = await pool.run({ name: 'enqueuesInFlow', payload: { priority: 7 } });
    expect(extras?.enqueue).toMatchObject([{ name: 'noop', options: { priority: 7 }, inFlow: true }]);
    const alone = await pool.run({ name: 'enqueuesInFlow', payload: { inFlow: false } });
    expect(alone.extras?.enqueue?.[0]).not.toHaveProperty('inFlow');
  });

  it('is refused with now, and when it is no boolean', async () => {
    const pool = await openPool({ isolation });
    for (const payload of [{ now: true }, { inFlow: 1 }]) {
      await expect(pool.result({ name: 'enqueuesInFlow', payload })).rejects.toMatchObject({
        code: 'ERR_MILLRACE_INVALID_ARGUMENT',
        argument: 'options.inFlow',
      });
    }
  });
});
