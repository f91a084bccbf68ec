/** The logger that is used when none is given. */

import { describe, expect, it } from 'vitest';
import { defaultLogger, lineLogger, silentLogger } from '#src/logger.js';

function linesOf(act: (logger: ReturnType<typeof lineLogger>) => void): string[] {
  const lines: string[] = [];
  act(lineLogger((line) => lines.push(line)));
  return lines;
}

describe('the logger of lines', () => {
  it('writes warnings and errors with their fields, nothing else', () => {
    const lines = linesOf((logger) => {
      logger.trace?.({}, 'a');
      logger.debug({}, 'b');
      logger.info({}, 'c');
      logger.warn({ taskId: 'x', attempt: 2 }, 'Slow commit');
      logger.error({ isFenced: true, at: 5n }, 'Fenced');
    });
    expect(lines).toEqual([
      'millrace warn: Slow commit taskId=x attempt=2',
      'millrace error: Fenced isFenced=true at=5',
    ]);
  });

  it('shows name, code and message of an error, but no objects, functions or payloads', () => {
    const error = Object.assign(new TypeError('no space'), { code: 'ENOSPC', secret: 'canary' });
    const fields = {
      error,
      payload: 'canary',
      result: 'canary',
      body: 'canary',
      a: { b: 'canary' },
      c: () => 'canary',
    };
    expect(linesOf((logger) => logger.error(fields, 'Failed'))).toEqual([
      'millrace error: Failed error=TypeError [ENOSPC]: no space',
    ]);
  });

  it('keeps one line and moves no cursor', () => {
    const evil = 'a\nb\r\u001b[31mc\u0000\u0085\u2028\u202ed';
    const [line = ''] = linesOf((logger) => logger.warn({ [evil]: evil }, evil));
    expect(line).toBe('millrace warn: a b [31mc d a b [31mc d=a b [31mc d');
  });

  it('cuts what is too long', () => {
    expect(linesOf((logger) => logger.warn({}, 'x'.repeat(10_000)))[0]).toHaveLength(
      'millrace warn: '.length + 500,
    );
  });

  it('gives its children its fields', () => {
    expect(linesOf((logger) => logger.child?.({ queue: 'a' }).child?.({ b: 1 }).warn({ b: 2 }, 'm'))).toEqual(
      ['millrace warn: m queue=a b=2'],
    );
  });
});

describe('the other loggers', () => {
  it('have the same methods, and the silent one says nothing', () => {
    for (const method of Object.keys(defaultLogger)) expect(silentLogger).toHaveProperty(method);
    expect(silentLogger.child?.({})).toBe(silentLogger);
    expect(() => silentLogger.error({}, 'nothing')).not.toThrow();
  });
});
