/** The light entry: what a tasks module may say, checked when it loads. */
import { describe, expect, it } from 'vitest';
import { NotRetryableError, setup, task } from '#src/task-module.js';

describe('task()', () => {
  it('gives back the handler, to be called in tests', async () => {
    const double = task((payload: number) => payload * 2, { maxAttempts: 2 });
    expect(double(4)).toBe(8);
  });

  it('passes the context on', () => {
    const name = task((_payload: unknown, context) => context.name);
    expect(name(undefined, { name: 'from the test' })).toBe('from the test');
  });

  const REFUSED = [
    { what: 'no function', args: [5], code: 'ERR_MILLRACE_INVALID_ARGUMENT' },
    { what: 'a misspelt option', args: [() => 1, { maxAttempt: 3 }], code: 'ERR_MILLRACE_UNKNOWN_OPTION' },
    { what: 'a bad value', args: [() => 1, { maxAttempts: 0 }], code: 'ERR_MILLRACE_INVALID_ARGUMENT' },
    { what: 'a bad name', args: [() => 1, { name: '../etc' }], code: 'ERR_MILLRACE_INVALID_NAME' },
    { what: 'a star in the middle', args: [() => 1, { name: 'a*b' }], code: 'ERR_MILLRACE_INVALID_NAME' },
    { what: 'two stars', args: [() => 1, { name: 'a**' }], code: 'ERR_MILLRACE_INVALID_NAME' },
    { what: 'no schema', args: [() => 1, { schema: {} }], code: 'ERR_MILLRACE_INVALID_ARGUMENT' },
  ];
  for (const { what, args, code } of REFUSED) {
    it(`refuses ${what} at once`, () => {
      expect(() => Reflect.apply(task, undefined, args)).toThrow(expect.objectContaining({ code }));
    });
  }

  for (const name of ['a', 'a.b-c:d_e', 'images.*', '*']) {
    it(`takes the name ${name}`, () => expect(() => task(() => 1, { name })).not.toThrow());
  }
});

describe('setup()', () => {
  it('takes a function only', () => {
    expect(() => setup(5 as never)).toThrow(
      expect.objectContaining({ code: 'ERR_MILLRACE_INVALID_ARGUMENT' }),
    );
  });
});

describe('NotRetryableError', () => {
  it('is an error that says so itself', () => {
    const cause = new Error('why');
    const error = new NotRetryableError('no use', { cause });
    expect(error).toMatchObject({ name: 'NotRetryableError', message: 'no use', retryable: false, cause });
    expect(Object.hasOwn(error, 'retryable')).toBe(true);
  });
});
