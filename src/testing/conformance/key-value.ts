/** Facts: small versioned values with compare-and-set. */
import assert from 'node:assert/strict';
import { refuses } from './probe.js';
import { it, type Theme } from './suite.js';

const bytes = (text: string): Uint8Array => Buffer.from(text);
const text = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString();

export const keyValueThemes: readonly Theme[] = [
  {
    subject: 'a fact',
    sentences: [
      it('is read as it was put, with a version that grows', async ({ keyValue }) => {
        assert.equal(await keyValue.get('a'), undefined);
        assert.equal(await keyValue.put('a', bytes('one')), 1);
        assert.equal(await keyValue.put('a', bytes('two')), 2);
        const fact = await keyValue.get('a');
        assert.deepEqual([text(fact?.value), fact?.version], ['two', 2]);
        assert.equal(await keyValue.put('empty', new Uint8Array(0)), 1);
        assert.equal((await keyValue.get('empty'))?.value.length, 0);
      }),

      it('is put only when its version is the expected one', async ({ keyValue }) => {
        assert.equal(await keyValue.put('a', bytes('x'), { ifVersion: 1 }), undefined);
        assert.equal(await keyValue.put('a', bytes('x'), { ifVersion: 0 }), 1);
        assert.equal(await keyValue.put('a', bytes('y'), { ifVersion: 0 }), undefined);
        assert.equal(await keyValue.put('a', bytes('y'), { ifVersion: 1 }), 2);
        assert.equal(text((await keyValue.get('a'))?.value), 'y');
      }),

      it('is won by one of many who compare and set', async ({ keyValue }) => {
        const tries = Array.from({ length: 20 }, (_, at) =>
          keyValue.put('a', bytes(`${at}`), { ifVersion: 0 }),
        );
        assert.equal((await Promise.all(tries)).filter((version) => version !== undefined).length, 1);
      }),

      it('is deleted, if its version is the expected one', async ({ keyValue }) => {
        await keyValue.put('a', bytes('x'));
        assert.equal(await keyValue.delete('a', 2), false);
        assert.equal(await keyValue.delete('a', 1), true);
        assert.equal(await keyValue.delete('a'), false);
        assert.equal(await keyValue.get('a'), undefined);
        assert.equal(await keyValue.put('a', bytes('again'), { ifVersion: 0 }), 1);
      }),

      it('vanishes at its instant', async (probe) => {
        const { keyValue } = probe;
        await keyValue.put('a', bytes('x'), { expiresAt: probe.now + 100 });
        probe.clock.advance(99);
        assert.equal(text((await keyValue.get('a'))?.value), 'x');
        probe.clock.advance(1);
        assert.equal(await keyValue.get('a'), undefined);
        assert.deepEqual(await keyValue.list('', 10), []);
        assert.equal(await keyValue.put('a', bytes('y'), { ifVersion: 0 }), 1);
        await probe.prune(5_000);
        assert.equal(text((await keyValue.get('a'))?.value), 'y');
      }),

      it('is listed by prefix, in byte order, page by page', async ({ keyValue }) => {
        for (const key of ['b/2', 'a', 'b/', 'b/1', 'c', 'b', 'b/é', 'b/漢', '0'])
          await keyValue.put(key, bytes(key));
        const keys = async (prefix: string, limit: number, after?: string) =>
          (await keyValue.list(prefix, limit, after)).map(({ key }) => key);
        assert.deepEqual(await keys('b/', 10), ['b/', 'b/1', 'b/2', 'b/é', 'b/漢']);
        assert.deepEqual(await keys('b/', 2), ['b/', 'b/1']);
        assert.deepEqual(await keys('b/', 2, 'b/1'), ['b/2', 'b/é']);
        assert.deepEqual(await keys('b/', 10, 'a'), ['b/', 'b/1', 'b/2', 'b/é', 'b/漢']);
        assert.deepEqual(await keys('b/', 10, 'c'), []);
        assert.deepEqual((await keys('', 1_000)).length, 9);
        assert.deepEqual(await keys('none', 10), []);
      }),

      it('is listed over gaps of facts that have vanished', async (probe) => {
        for (let at = 0; at < 30; at++) {
          const condition = at % 10 === 9 ? {} : { expiresAt: probe.now + 1 };
          await probe.keyValue.put(`k${String(at).padStart(2, '0')}`, bytes(`${at}`), condition);
        }
        probe.clock.advance(1);
        const found = await probe.keyValue.list('k', 2);
        assert.deepEqual(
          found.map(({ key, fact }) => [key, text(fact.value)]),
          [
            ['k09', '9'],
            ['k19', '19'],
          ],
        );
      }),

      it('has bounds', async ({ keyValue }) => {
        await keyValue.put('漢'.repeat(512), bytes('x'));
        await refuses('INVALID_ARGUMENT', () => keyValue.put('x'.repeat(513), bytes('x')));
        await refuses('INVALID_ARGUMENT', () => keyValue.put('', bytes('x')));
        await refuses('INVALID_ARGUMENT', () => keyValue.get(''));
        await keyValue.put('large', new Uint8Array(1024 * 1024));
        await refuses('TOO_LARGE', () => keyValue.put('large', new Uint8Array(1024 * 1024 + 1)));
        for (const limit of [0, 1_001, 1.5])
          await refuses('INVALID_ARGUMENT', () => keyValue.list('', limit));
      }),

      it('belongs to the store: what the caller does to its bytes later changes nothing', async ({
        keyValue,
      }) => {
        const value = bytes('before');
        const put = keyValue.put('a', value);
        value.fill(0);
        await put;
        (await keyValue.get('a'))!.value.fill(0);
        assert.equal(text((await keyValue.get('a'))?.value), 'before');
      }),

      it(
        'is there after a restart',
        async (probe) => {
          await probe.keyValue.put('a', bytes('x'));
          await probe.keyValue.put('a', bytes('y'));
          await probe.keyValue.put('b', bytes('z'), { expiresAt: probe.now + 10 });
          await probe.reopen();
          assert.equal(await probe.keyValue.put('a', bytes('z'), { ifVersion: 2 }), 3);
          probe.clock.advance(10);
          assert.equal(await probe.keyValue.get('b'), undefined);
        },
        { has: ['durable'] },
      ),

      it('is refused once the backend is closed', async (probe) => {
        const { keyValue } = probe;
        await probe.close();
        await refuses('STOPPED', () => keyValue.put('a', bytes('x')));
        await refuses('STOPPED', () => keyValue.get('a'));
      }),
    ],
  },
];
