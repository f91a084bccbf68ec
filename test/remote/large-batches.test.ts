/** Batches that are larger than one commit, from a client over a real socket. */
import { describe, expect, it } from 'vitest';
import { rejection } from '../runtime/harness.js';
import { connect, countsOf, MOST_BYTES, until } from './rig.js';

const TASKS = 25_000;

function batchOf(count: number): { name: string; payload: unknown; options?: object }[] {
  return Array.from({ length: count }, (_, payload) => ({ name: 'echo', payload }));
}

describe('a batch of a client', () => {
  it('larger than one commit is accepted as a whole, and its receipts name its tasks', async () => {
    const rig = await connect();
    const receipts = await rig.desk.enqueueBatch(batchOf(TASKS));
    expect(receipts.length).toBe(TASKS);
    expect(countsOf(rig)).toEqual({ ready: TASKS });
    expect(await rig.desk.state(receipts[TASKS - 1]!.id)).toBe('ready');
    const claims = await rig.backend.broker.claim(() => 'take', TASKS);
    expect(claims.map(({ id }) => id)).toEqual(receipts.map(({ id }) => id));
  });

  it('is blocked while it arrives, and other calls of the client are answered meanwhile', async () => {
    const rig = await connect();
    const accepted = rig.desk.enqueueBatch(batchOf(60_000));
    await until(() => (countsOf(rig).blocked ?? 0) > 0);
    // It sends no faster than its tasks are stored.
    await until(() => rig.visitor.isPaused());
    await rig.desk.accept(rig.desk.encode('echo', 'here', undefined));
    expect(countsOf(rig)).toMatchObject({ ready: 1 });
    await accepted;
    expect(countsOf(rig)).toEqual({ ready: 60_001 });
  });

  it('leaves nothing when its connection ends in the middle', async () => {
    const rig = await connect();
    const refused = rejection(rig.desk.enqueueBatch(batchOf(200_000)));
    await until(() => (countsOf(rig).blocked ?? 0) > 0);
    rig.socket.destroy();
    expect(await refused).toMatchObject({ code: 'ERR_MILLRACE_DISCONNECTED' });
    await until(() => rig.visitor.destroyed && countsOf(rig).blocked === undefined);
    expect(countsOf(rig)).toEqual({});
    expect((await rig.backend.inspect!.list({}, 10)).tasks).toEqual([]);
  });

  it('leaves nothing when one of its tasks cannot be encoded, and the next one is accepted', async () => {
    const rig = await connect();
    const batch = batchOf(60_000);
    batch[59_999] = { name: 'echo', payload: () => 'a function' };
    expect(await rejection(rig.desk.enqueueBatch(batch))).toMatchObject({
      code: 'ERR_MILLRACE_NOT_ENCODABLE',
    });
    await until(() => countsOf(rig).blocked === undefined);
    await rig.desk.enqueueBatch(batchOf(TASKS));
    expect(countsOf(rig)).toEqual({ ready: TASKS });
  });

  it('leaves nothing when the owner refuses one of its tasks', async () => {
    const rig = await connect();
    const batch = batchOf(60_000);
    batch[59_000] = { name: 'echo', payload: 'x'.repeat(2 * MOST_BYTES + 1) };
    expect(await rejection(rig.desk.enqueueBatch(batch))).toMatchObject({ code: 'ERR_MILLRACE_TOO_LARGE' });
    await until(() => countsOf(rig).blocked === undefined);
    expect(countsOf(rig)).toEqual({});
    await rig.desk.accept(rig.desk.encode('echo', 'here', undefined));
    expect(countsOf(rig)).toEqual({ ready: 1 });
  });

  it('is one of few: the fifth at once is refused, and the others are accepted', async () => {
    const rig = await connect();
    const batches = Array.from({ length: 5 }, () => rig.desk.enqueueBatch(batchOf(TASKS)));
    const [last] = (await Promise.allSettled(batches)).filter(({ status }) => status === 'rejected');
    expect(last).toMatchObject({ reason: { code: 'ERR_MILLRACE_QUEUE_FULL' } });
    await until(() => countsOf(rig).blocked === undefined);
    expect(countsOf(rig)).toEqual({ ready: 4 * TASKS });
  });

  it('takes no unique keys when it is larger than one commit', async () => {
    const rig = await connect();
    const batch = batchOf(TASKS);
    batch[TASKS - 1] = { name: 'echo', payload: 1, options: { unique: { key: 'k' } } };
    expect(await rejection(rig.desk.enqueueBatch(batch))).toMatchObject({ code: 'ERR_MILLRACE_UNSUPPORTED' });
    expect(countsOf(rig)).toEqual({});
  });
});
