/** Which function runs for a name, and how what it takes, returns and throws crosses over. */
import { describe, expect, it } from 'vitest';
import { encodeValue } from '#src/task/codec.js';
import { errorOf, fixture, ISOLATIONS, openPool, preparePool, type TestPool } from './harness.js';

describe.each(ISOLATIONS)('the handlers of a module (%s)', (isolation) => {
  it('are its functions and what task() made, not classes, default, or names that begin with _', async () => {
    const pool = await openPool({ isolation });
    const names = pool.pool.handlers.map((each) => each.name);
    expect(names).toContain('noop');
    expect(names).toContain('other.name');
    for (const name of ['renamed', 'Helper', 'constant', '_hidden', 'default', 'main', 'images']) {
      expect(names).not.toContain(name);
    }
    const renamed = pool.pool.handlers.find((each) => each.name === 'other.name');
    expect(renamed).toEqual({ name: 'other.name', pattern: false, options: { maxAttempts: 9 } });
    expect(pool.pool.handlers.find((each) => each.name === 'images.*')).toMatchObject({ pattern: true });
  });

  const CASES = [
    { name: 'images.small', by: 'a pattern', result: 'images: images.small' },
    { name: 'images.', by: 'a pattern', result: 'images: images.' },
    { name: 'images.large.two', by: 'the longest pattern', result: 'large' },
    { name: 'images.large.one', by: 'its exact name before any pattern', result: 'exact' },
    { name: 'other.name', by: 'the name given to task()', payload: 1, result: 2 },
  ];
  it('are found by their names, and by the longest pattern', async () => {
    const pool = await openPool({ isolation });
    for (const { name, by, payload, result } of CASES) {
      expect({ by, result: await pool.result({ name, payload }) }).toEqual({ by, result });
    }
  });

  it('do not have every name', async () => {
    const pool = await openPool({ isolation });
    const item = await pool.run({ name: 'nobody' });
    expect(errorOf(item)).toMatchObject({
      code: 'ERR_MILLRACE_NO_HANDLER',
      message: 'No handler is named "nobody"',
    });
    expect(item.outcome).toMatchObject({ kind: 'failed', retryable: true, invalidPayload: false });
  });

  const REFUSED = [
    { module: 'tasks-modules/missing', why: 'importing it failed: Cannot find module' },
    {
      module: 'tasks-modules/throws',
      why: 'importing it failed: refuses to load',
      cause: { code: 'E_LOAD' },
    },
    { module: 'tasks-modules/empty', why: 'it exports no handler' },
    { module: 'tasks-modules/duplicate', why: 'two of its exports are named "same"' },
    { module: 'tasks-modules/bad-setup', why: 'its setup failed: no database' },
  ];
  for (const { module, why, cause } of REFUSED) {
    it(`are refused from ${module}: ${why}`, async () => {
      const pool = preparePool({ isolation, modules: [fixture(module)], threads: 2 });
      await expect(pool.start()).rejects.toMatchObject({
        code: 'ERR_MILLRACE_TASKS_MODULE',
        url: fixture(module),
        message: expect.stringContaining(why),
        ...(cause === undefined ? {} : { cause }),
      });
    });
  }

  it('are refused when two modules have the same name', async () => {
    const pool = preparePool({ isolation, modules: [fixture('tasks'), fixture('tasks-modules/clashes')] });
    await expect(pool.start()).rejects.toThrow('another module already handles "noop"');
  });
});

describe.each(ISOLATIONS)('what a handler throws (%s)', (isolation) => {
  const THROWN = [
    { what: 'undefined', stored: { message: 'undefined' } },
    { what: 'null', stored: { message: 'null' } },
    { what: 'string', stored: { message: 'a mere string' } },
    { what: 'cyclic', stored: { name: 'Error', message: 'cyclic' } },
    { what: 'getter', stored: {} },
    { what: 'proxy', stored: {} },
    {
      what: 'rich',
      stored: {
        name: 'RangeError',
        message: 'rich',
        code: 'E_RICH',
        fields: { extra: [1] },
        cause: { message: 'the cause' },
      },
    },
  ];
  it('is kept, whatever it is', async () => {
    const pool = await openPool({ isolation });
    for (const { what, stored } of THROWN) {
      const item = await pool.run({ name: 'throwing', payload: what });
      expect(item.outcome).toMatchObject({ kind: 'failed', retryable: true, invalidPayload: false });
      expect({ what, ...errorOf(item) }).toMatchObject({ what, ...stored });
      expect(await pool.result({ name: 'noop', payload: 1 })).toBe(1);
    }
  });

  it('keeps its stack', async () => {
    const pool = await openPool({ isolation });
    const item = await pool.run({ name: 'throwing', payload: 'rich' });
    expect(errorOf(item).stack).toContain('fixtures/tasks.js');
  });

  it('says that another attempt is pointless, by its class or a field of its own', async () => {
    const pool = await openPool({ isolation });
    for (const payload of ['not-retryable', 'own-retryable']) {
      const { outcome } = await pool.run({ name: 'throwing', payload });
      expect({ payload, ...outcome }).toMatchObject({ payload, retryable: false });
    }
  });
});

describe.each(ISOLATIONS)('what a handler returns (%s)', (isolation) => {
  const REFUSED = [
    { what: 'function', code: 'ERR_MILLRACE_NOT_ENCODABLE', fields: { path: 'deep[1].callback' } },
    { what: 'getter', code: 'ERR_MILLRACE_NOT_ENCODABLE', fields: { path: 'trap' } },
    { what: 'huge', code: 'ERR_MILLRACE_TOO_LARGE', fields: { maxBytes: 16_777_216 } },
  ];
  it('fails its task, for good, when it cannot be kept', async () => {
    const pool = await openPool({ isolation });
    for (const { what, code, fields } of REFUSED) {
      const item = await pool.run({ name: 'returning', payload: what });
      expect(item.outcome).toMatchObject({ kind: 'failed', retryable: false, invalidPayload: false });
      expect({ what, ...errorOf(item) }).toMatchObject({ what, code, fields });
    }
    expect(pool.events.map((each) => each.kind)).toEqual(['ready']);
  });

  it('is awaited when it is a thenable', async () => {
    const pool = await openPool({ isolation });
    expect(await pool.result({ name: 'returning', payload: 'thenable' })).toBe('thenable');
  });

  it('may be nothing', async () => {
    const pool = await openPool({ isolation });
    expect(await pool.result({ name: 'returning' })).toBeUndefined();
  });

  it('is bounded as the pool was told', async () => {
    const pool = await openPool({ isolation, maxResultBytes: 1_000, maxBufferBytes: 500 });
    await expect(pool.result({ name: 'text', payload: 600 })).rejects.toMatchObject({ maxBytes: 1_000 });
    await expect(pool.result({ name: 'bytes', payload: 501 })).rejects.toMatchObject({ maxBytes: 500 });
    expect(await pool.result({ name: 'text', payload: 10 })).toBe('é'.repeat(10));
  });
});

describe.each(ISOLATIONS)('a payload (%s)', (isolation) => {
  const failsAsInvalid = async (pool: TestPool, body: Uint8Array, name = 'noop') => {
    const item = await pool.run({ name, body });
    expect(item.outcome).toMatchObject({ kind: 'failed', retryable: false, invalidPayload: true });
    return errorOf(item);
  };

  it('that does not decode is invalid', async () => {
    const pool = await openPool({ isolation });
    expect(await failsAsInvalid(pool, new Uint8Array([99, 1, 2]))).toMatchObject({
      code: 'ERR_MILLRACE_NOT_DECODABLE',
    });
    expect(await failsAsInvalid(pool, new Uint8Array(0))).toMatchObject({
      code: 'ERR_MILLRACE_NOT_DECODABLE',
    });
  });

  it('is checked by the schema of its task, whose output the handler gets', async () => {
    const pool = await openPool({ isolation });
    expect(await pool.result({ name: 'checked', payload: { size: 4 } })).toBe(10);
    const error = await failsAsInvalid(pool, encodeValue({ size: 'four' }).slice(), 'checked');
    expect(error).toMatchObject({
      name: 'InvalidPayloadError',
      code: 'ERR_MILLRACE_INVALID_PAYLOAD',
      fields: { issues: [{ message: 'not a number', path: 'size' }] },
    });
    expect(error.message).toContain('at size: not a number');
  });

  it('may be in a format of the module; so may a result', async () => {
    const pool = await openPool({ isolation, modules: [fixture('tasks-modules/codecs')] });
    const reversed = {
      name: 'reversed',
      encode: (value: unknown) => Buffer.from(JSON.stringify(value)).reverse(),
      decode: (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).reverse().toString()) as unknown,
    };
    const body = encodeValue({ a: 1 }, undefined, reversed).slice();
    const item = await pool.run({ name: 'echo', body });
    expect(item.outcome).toMatchObject({ kind: 'completed', result: body });
    await expect(pool.result({ name: 'unknownCodec', payload: 1 })).rejects.toMatchObject({
      code: 'ERR_MILLRACE_UNKNOWN_CODEC',
    });
  });
});
