/** Hand-over of batches, their results, and taking items back. */
import { describe, expect, it } from 'vitest';
import { Gate, ISOLATIONS, openPool, resultOf, type TestItem, type TestPool } from './harness.js';

const items = (count: number, name = 'noop'): TestItem[] =>
  Array.from({ length: count }, (_, index) => ({ token: `${index}`, name, payload: { index } }));

/** Waits until `count` items are reported. */
const reported = (pool: TestPool, count: number) => pool.until(() => pool.items.length >= count);

describe.each(ISOLATIONS)('a batch (%s)', (isolation) => {
  it('reports each item once, in order, with its own result', async () => {
    const pool = await openPool({ isolation });
    const batch = pool.hand(items(256));
    await reported(pool, 256);
    expect(pool.items.map((each) => each.token)).toEqual(items(256).map((each) => each.token));
    expect(pool.items.map(resultOf)).toEqual(items(256).map((each) => each.payload));
    expect(batch.unstarted()).toBe(0);
    await pool.until(() => pool.slot.batches.length === 0);
  });

  it('runs asynchronous handlers one after the other', async () => {
    const gate = new Gate();
    const pool = await openPool({ isolation, services: gate.services });
    pool.hand([
      { token: 'a', name: 'gated', payload: 'a' },
      { token: 'b', name: 'noop' },
    ]);
    await pool.begun('a');
    expect(pool.items).toEqual([]);
    gate.open('a');
    await reported(pool, 2);
    expect(pool.items.map((each) => each.token)).toEqual(['a', 'b']);
  });

  it('waits for the one before it on the same slot, unless it is parallel', async () => {
    const gate = new Gate();
    const pool = await openPool({ isolation, services: gate.services });
    pool.hand([{ token: 'a', name: 'gated', payload: 'a' }]);
    pool.hand([{ token: 'serial', name: 'noop' }]);
    await pool.begun('a');
    pool.hand([{ token: 'parallel', name: 'noop' }], pool.slot, true);
    await pool.finishedItem('parallel');
    expect(pool.items.map((each) => each.token)).toEqual(['parallel']);
    gate.open('a');
    await reported(pool, 3);
    expect(pool.items.map((each) => each.token)).toEqual(['parallel', 'a', 'serial']);
  });

  it('runs parallel ones at the same time', async () => {
    const gate = new Gate();
    const pool = await openPool({ isolation, services: gate.services });
    for (const token of ['a', 'b', 'c'])
      pool.hand([{ token, name: 'gated', payload: token }], pool.slot, true);
    for (const token of ['a', 'b', 'c']) await pool.begun(token);
    for (const token of ['c', 'a', 'b']) {
      gate.open(token);
      await pool.finishedItem(token);
    }
    expect(pool.items.map((each) => each.token)).toEqual(['c', 'a', 'b']);
  });

  it('reports what has finished while it goes on', async () => {
    const gate = new Gate();
    const pool = await openPool({ isolation, services: gate.services });
    const batch = pool.hand([
      ...items(3),
      { token: 'last', name: 'gated', payload: 'last' },
      { name: 'noop' },
    ]);
    await reported(pool, 3);
    expect(batch.isRunning(3)).toBe(true);
    expect(batch.unstarted()).toBe(1);
    gate.open('last');
    await reported(pool, 5);
  });

  it('takes results of any size, in the page or beside it', async () => {
    const pool = await openPool({ isolation });
    const sizes = [0, 1, 1_000, 100_000, 150_000, 300_000, 20, 5_000_000];
    pool.hand(sizes.map((payload, index) => ({ token: `${index}`, name: 'bytes', payload })));
    await reported(pool, sizes.length);
    expect(pool.items.map((each) => (resultOf(each) as Uint8Array).length)).toEqual(sizes);
    expect((resultOf(pool.items[7]!) as Uint8Array).every((byte) => byte === 7)).toBe(true);
  });

  it('takes payloads of any size', async () => {
    const pool = await openPool({ isolation });
    const payload = new Uint8Array(3_000_000).fill(3);
    const result = await pool.result({ name: 'noop', payload });
    expect(Buffer.compare(result as Uint8Array, payload)).toBe(0);
    expect(await pool.result({ name: 'noop', payload: 'x'.repeat(500_000) })).toBe('x'.repeat(500_000));
  });

  it('uses its pages again without mixing them up', async () => {
    const pool = await openPool({ isolation });
    let handed = 0;
    for (const size of [256, 1, 100, 256, 3, 256]) {
      pool.hand(
        Array.from({ length: size }, () => ({
          token: `${handed}`,
          name: 'noop',
          payload: { value: handed++ },
        })),
      );
    }
    await reported(pool, handed);
    expect(pool.items.map((each) => (resultOf(each) as { value: number }).value)).toEqual(
      Array.from({ length: handed }, (_, index) => index),
    );
  });

  it('may be larger than a page', async () => {
    const pool = await openPool({ isolation });
    pool.hand(items(700));
    await reported(pool, 700);
    expect(pool.items.every((each) => each.outcome.kind === 'completed')).toBe(true);
  });

  it('knows any number of names', async () => {
    const pool = await openPool({ isolation });
    for (let from = 0; from < 6_000; from += 200) {
      pool.hand(Array.from({ length: 200 }, (_, index) => ({ name: `images.n${from + index}` })));
    }
    await reported(pool, 6_000);
    expect(pool.items.map(resultOf)).toEqual(
      Array.from({ length: 6_000 }, (_, index) => `images: images.n${index}`),
    );
  });

  it('moves buffers to the thread, and refuses what cannot be moved as an outcome', async () => {
    const pool = await openPool({ isolation });
    const buffer = new Uint8Array([1, 2, 3]).buffer;
    const moved = { value: { data: new Uint8Array(buffer) }, list: [buffer] };
    expect(await pool.result({ name: 'noop', moved })).toEqual({ data: new Uint8Array([1, 2, 3]) });
    expect(buffer.byteLength).toBe(0);
    pool.hand([{ token: 'refused', name: 'noop', moved: { value: { callback() {} }, list: [] } }]);
    pool.hand([{ token: 'behind', name: 'noop', payload: 'not concerned' }]);
    const { outcome } = await pool.finishedItem('refused');
    expect(outcome).toMatchObject({ kind: 'failed', retryable: false, invalidPayload: true });
    expect(resultOf(await pool.finishedItem('behind'))).toBe('not concerned');
    expect(await pool.result({ name: 'noop', payload: 'goes on' })).toBe('goes on');
  });

  it('tells when each item started, on the wall clock, and how long it ran', async () => {
    const before = Date.now();
    const pool = await openPool({ isolation });
    pool.hand([...items(2), { token: 'later', name: 'later' }]);
    await reported(pool, 3);
    for (const item of pool.items) {
      expect(item.startedAt).toBeGreaterThanOrEqual(before - 1);
      expect(item.startedAt).toBeLessThanOrEqual(Date.now() + 1);
      expect(item.runMs).toBeGreaterThanOrEqual(0);
      expect(item.runMs).toBeLessThan(5_000);
      expect(item.thread).toBe(pool.events.find((event) => event.kind === 'ready')?.threadId);
    }
  });

  it('calls the listener never from inside a call', async () => {
    const pool = await openPool({ isolation });
    let isInside = false;
    pool.onCall = () => expect(isInside).toBe(false);
    for (let round = 0; round < 20; round++) {
      isInside = true;
      const batch = pool.hand(items(10));
      batch.recall(9);
      batch.abort(0, 'cancelled');
      batch.unstarted();
      isInside = false;
      await pool.until(() => pool.slot.batches.length === 0);
    }
  });

  it('for a slot without a thread comes back as released', async () => {
    const pool = await openPool({ isolation });
    await pool.pool.stop(0);
    pool.hand(items(2));
    await reported(pool, 2);
    expect(pool.items.map((each) => each.outcome)).toEqual([
      { kind: 'released', started: false, suspect: false },
      { kind: 'released', started: false, suspect: false },
    ]);
    expect(pool.items.map((each) => each.startedAt)).toEqual([0, 0]);
  });
});

describe.each(ISOLATIONS)('recall (%s)', (isolation) => {
  it('takes back what has not started, and only that', async () => {
    const gate = new Gate();
    const pool = await openPool({ isolation, services: gate.services });
    const batch = pool.hand([{ token: 'a', name: 'gated', payload: 'a' }, ...items(4)]);
    const prefetched = pool.hand(items(2).map((each) => ({ ...each, token: `second ${each.token}` })));
    await pool.begun('a');
    expect(batch.recall(0)).toBe(false);
    expect(batch.recall(2)).toBe(true);
    expect(batch.recall(2)).toBe(false);
    expect(batch.unstarted()).toBe(3);
    expect(prefetched.recall(0)).toBe(true);
    gate.open('a');
    await pool.until(() => pool.slot.batches.length === 0);
    expect(pool.items.map((each) => each.token)).toEqual(['a', '0', '2', '3', 'second 1']);
  });

  it('law: each item is either recalled or reported, never both, whoever is first', async () => {
    const pool = await openPool({ isolation });
    for (let round = 0; round < 60; round++) {
      const size = 1 + ((round * 37) % 256);
      pool.items.length = 0;
      const batch = pool.hand(items(size));
      const recalled = new Set<string>();
      // From the end, so that host and thread meet somewhere in the middle.
      await new Promise((resolve) => setImmediate(resolve));
      for (let index = size - 1; index >= 0; index--) if (batch.recall(index)) recalled.add(`${index}`);
      await pool.until(() => pool.slot.batches.length === 0);
      const finished = new Set(pool.items.map((each) => each.token));
      expect(pool.items).toHaveLength(finished.size);
      expect(recalled.size + finished.size).toBe(size);
      for (const token of finished) expect(recalled.has(token)).toBe(false);
    }
  });
});
