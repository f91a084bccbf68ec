/** Errors at rest: whatever is thrown becomes plain data of bounded size, and an Error like it comes back. */

import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeValue, encodeValue } from '#src/task/codec.js';
import { reviveError, type StoredError, storeError } from '#src/task/stored-error.js';

class QuotaError extends RangeError {
  readonly code = 'E_QUOTA';
  readonly limit = { max: 5n, at: new Date(0) };
}

/** As it is after a stay in the store. */
function stored(thrown: unknown, maxBytes?: number): StoredError {
  return decodeValue(encodeValue(storeError(thrown, maxBytes)).slice()) as StoredError;
}

function revived(thrown: unknown): Error {
  return reviveError(stored(thrown));
}

function nest(levels: number): Error {
  return new Error(`level ${levels}`, levels === 0 ? undefined : { cause: nest(levels - 1) });
}

/** How many causes follow. */
function causesOf(error: StoredError): number {
  return error.cause === undefined ? 0 : 1 + causesOf(error.cause);
}

describe('storeError and reviveError', () => {
  it('keep class name, message, stack, code, fields and cause', () => {
    const error = new QuotaError('too many', { cause: new TypeError('because') });
    const again = revived(error) as QuotaError;
    expect(again).toBeInstanceOf(Error);
    expect([again.name, again.message, again.stack]).toEqual(['QuotaError', 'too many', error.stack]);
    expect([again.code, again.limit]).toEqual(['E_QUOTA', { max: 5n, at: new Date(0) }]);
    expect(again.cause).toMatchObject({ name: 'TypeError', message: 'because' });
    expect(Object.keys(again)).toEqual(['code', 'limit']);
    expect(String(again)).toBe('QuotaError: too many');
  });

  it('keep the errors of an AggregateError', () => {
    const again = revived(new AggregateError([new QuotaError('a'), 'b'], 'both')) as AggregateError;
    expect(again).toBeInstanceOf(AggregateError);
    expect(again.errors).toMatchObject([
      { name: 'QuotaError', message: 'a', code: 'E_QUOTA' },
      { name: 'NonError', message: 'b' },
    ]);
  });

  it('keep a list named errors that holds no errors as a field', () => {
    const again = revived(Object.assign(new Error('invalid'), { errors: ['name', 'age'] }));
    expect(again).not.toBeInstanceOf(AggregateError);
    expect(again).toMatchObject({ errors: ['name', 'age'] });
  });

  it('keep a system error as Node throws it', () => {
    const error = Object.assign(new Error('open'), {
      errno: -2,
      code: 'ENOENT',
      syscall: 'open',
      path: '/x',
    });
    expect({ ...revived(error) }).toEqual({ errno: -2, code: 'ENOENT', syscall: 'open', path: '/x' });
  });

  const NAMES: readonly [string, unknown, string][] = [
    ['a built-in class', new TypeError('x'), 'TypeError'],
    ['a class that sets no name', new (class LostError extends Error {})('x'), 'LostError'],
    ['a name set by the error', Object.assign(new Error('x'), { name: 'Custom' }), 'Custom'],
    ['a name set to Error on purpose', Object.assign(new QuotaError('x'), { name: 'Error' }), 'Error'],
    ['a DOMException', new DOMException('x', 'AbortError'), 'AbortError'],
    ['a plain object like an error', { name: 'Odd', message: 'x' }, 'Odd'],
  ];
  for (const [what, thrown, name] of NAMES) {
    it(`name ${what} ${name}`, () => {
      expect(revived(thrown)).toMatchObject({ name, message: 'x' });
    });
  }

  const OTHERS: readonly [unknown, Partial<StoredError>][] = [
    [undefined, { name: 'NonError', message: 'undefined' }],
    [null, { name: 'NonError', message: 'null' }],
    ['text', { name: 'NonError', message: 'text' }],
    [12n, { name: 'NonError', message: '12' }],
    [Symbol('x'), { name: 'NonError', message: 'Symbol(x)' }],
    [() => 1, { name: 'NonError', message: 'a function was thrown' }],
    [{ status: 4 }, { name: 'NonError', fields: { status: 4 } }],
    [Object.create(null), { name: 'NonError', message: 'an object that is not an Error was thrown' }],
    [new Map(), { name: 'Map' }],
  ];
  for (const [thrown, expected] of OTHERS) {
    it(`take ${inspect(thrown)}, which is not an Error`, () => {
      expect(stored(thrown)).toMatchObject(expected);
      expect(revived(thrown)).toBeInstanceOf(Error);
    });
  }
});

describe('storeError', () => {
  it('cuts a huge message and stack with a mark, and keeps the first frames', () => {
    const { message, stack } = stored(new Error('é'.repeat(1_000_000)));
    expect(message).toMatch(/^é+… \(cut\)$/);
    expect(message.length).toBeGreaterThan(1000);
    expect(stored(new Error('x'.repeat(20_000))).stack).toMatch(/x… \(cut\)\n {4}at /);
    expect(Buffer.byteLength(stack ?? '')).toBeLessThan(5_000);
  });

  it('keeps five causes of a longer chain, and ends a circle', () => {
    expect(causesOf(storeError(nest(3)))).toBe(3);
    expect(causesOf(storeError(nest(50), 100_000))).toBe(5);
    const first = new Error('first');
    const second = new Error('second', { cause: first });
    first.cause = second;
    expect(stored(first)).toMatchObject({ message: 'first', cause: { message: 'second' } });
    expect(causesOf(storeError(first))).toBe(1);
  });

  it('keeps sixteen errors at most and tells how many are missing', () => {
    const { errors } = stored(new AggregateError(Array.from({ length: 1_000 }, (_, i) => new Error(`${i}`))));
    const kept = (errors?.length ?? 0) - 1;
    expect(kept).toBeGreaterThan(5);
    expect(errors?.at(-1)?.message).toBe(`… (cut): ${1_000 - kept} more`);
  });

  it('leaves out fields that are large, deep, not data, or named like what errors have', () => {
    const fields = {
      small: { ok: true },
      large: 'x'.repeat(10_000),
      deep: [[[[[[[[[1]]]]]]]]],
      socket: new (class Socket {})(),
      method: () => 1,
      toString: 'x',
      constructor: 'x',
      prototype: 'x',
    };
    const error = Object.defineProperty(Object.assign(new Error('x'), fields), '__proto__', {
      value: { polluted: true },
      enumerable: true,
    });
    expect(stored(error).fields).toEqual({ small: { ok: true } });
  });

  it('copies fields, so that later changes do not show', () => {
    const error = Object.assign(new Error('x'), { list: [1] });
    const { fields } = storeError(error);
    error.list.push(2);
    expect(fields).toEqual({ list: [1] });
  });

  const refuse = (): never => {
    throw new Error('hostile');
  };
  const traps = new Proxy({}, { get: () => refuse });
  const HOSTILE: readonly [string, unknown][] = [
    ['a Proxy whose every trap throws', new Proxy(new Error('x'), traps)],
    ['a function of that kind', new Proxy(() => 1, traps)],
    ['a revoked Proxy', revokedProxy()],
    ['toString and toPrimitive that throw', { toString: refuse, [Symbol.toPrimitive]: refuse }],
    ['getters that throw', withGetters(new Error('x'), refuse)],
    ['a constructor that is a number', Object.assign(Object.create({ constructor: 1 }), { message: 'x' })],
    ['errors that are a Proxy', Object.assign(new Error('x'), { errors: new Proxy([], traps) })],
    ['errors that hold hostile things', new AggregateError([new Proxy({}, traps), revokedProxy()])],
    ['ten million bytes', new Uint8Array(10_000_000)],
    ['a name and message that are objects', Object.assign(new Error('x'), { name: {}, message: {} })],
  ];
  for (const [what, thrown] of HOSTILE) {
    it(`survives ${what}`, () => {
      const error = stored(thrown);
      expect([typeof error.name, typeof error.message]).toEqual(['string', 'string']);
      expect(reviveError(error)).toBeInstanceOf(Error);
    });
  }

  it('law: anything thrown is encodable within maxBytes and can be revived', () => {
    const text = fc
      .tuple(fc.string({ unit: 'binary' }), fc.nat(300))
      .map(([part, times]) => part.repeat(times));
    const { error: anyThrown } = fc.letrec<{ error: unknown }>((tie) => ({
      error: fc.oneof(
        { depthSize: 'medium' },
        fc.anything({ withNullPrototype: true, withBigInt: true, withMap: true, withTypedArray: true }),
        fc.tuple(text, tie('error'), fc.object()).map(([message, cause, fields]) => {
          return withFields(new Error(message, { cause }), fields);
        }),
        fc
          .tuple(text, fc.array(tie('error')))
          .map(([message, errors]) => new AggregateError(errors, message)),
      ),
    }));
    fc.assert(
      fc.property(anyThrown, fc.integer({ min: 512, max: 20_000 }), (thrown, maxBytes) => {
        const error = storeError(thrown, maxBytes);
        expect(encodeValue(error).length - 1).toBeLessThanOrEqual(maxBytes);
        expect(reviveError(error).message).toBe(error.message);
        expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });
});

describe('reviveError', () => {
  it('never replaces what an error has anyway, nor sets a key that touches prototypes', () => {
    const fields = JSON.parse(
      '{"__proto__":{"polluted":1},"constructor":1,"toString":2,"message":3,"own":4}',
    );
    const error = reviveError({ name: 'Error', message: 'x', fields });
    expect(Object.keys(error)).toEqual(['own']);
    expect(Object.getPrototypeOf(error)).toBe(Error.prototype);
    expect(`${error}`).toBe('Error: x');
  });

  it('gives an error without a stack its first line, not the place of its revival', () => {
    expect(reviveError({ name: 'NonError', message: 'x' }).stack).toBe('NonError: x');
  });
});

function withFields(error: Error, fields: object): Error {
  for (const [key, value] of Object.entries(fields)) {
    Object.defineProperty(error, key, { value, enumerable: true, configurable: true });
  }
  return error;
}

function withGetters(error: Error, get: () => never): Error {
  for (const key of ['stack', 'name', 'message', 'code', 'cause', 'errors', 'constructor', 'field']) {
    Object.defineProperty(error, key, { get, enumerable: true });
  }
  return error;
}

function revokedProxy(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}
