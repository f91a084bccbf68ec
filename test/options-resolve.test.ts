/** How the options of an enqueue, a definition and a queue are laid over the defaults. */
import { describe, expect, it } from 'vitest';
import { OPTION_TABLE } from '#src/options/listing.js';
import { DEFAULT_RULES, levelOf, resolveOptions } from '#src/options.js';

describe('resolveOptions', () => {
  it('lets the enqueue win over the definition, that over the queue, that over the defaults', () => {
    const own = { maxAttempts: 4 };
    const definition = { maxAttempts: 5, timeoutMs: 50, isolation: 'thread' } as const;
    const queue = {
      ...{ maxAttempts: 6, timeoutMs: 60, maxCrashes: 6, notRetryable: ['Q'] },
      isolation: 'process',
    } as const;
    expect(resolveOptions(definition, queue, own)).toEqual({
      ...DEFAULT_RULES,
      maxAttempts: 4,
      timeoutMs: 50,
      maxCrashes: 6,
      notRetryable: ['Q'],
    });
    expect(resolveOptions({}, queue).isolation).toBe('process');
    expect(resolveOptions()).toBe(DEFAULT_RULES);
    expect(resolveOptions({}, {}, {})).toEqual(DEFAULT_RULES);
  });

  it('merges backoff and retention key by key', () => {
    const resolved = resolveOptions(
      { backoff: { kind: 'fixed', baseMs: 5 }, retentionMs: { dead: 5 } },
      { backoff: { baseMs: 6, jitter: 'none' }, retentionMs: { dead: 6, completed: 6 } },
      { backoff: { factor: 4 }, retentionMs: { cancelled: 4 } },
    );
    expect(resolved.backoff).toEqual({ kind: 'fixed', baseMs: 5, factor: 4, capMs: 300_000, jitter: 'none' });
    expect(resolved.retentionMs).toEqual({ dead: 5, completed: 6, cancelled: 4 });
  });

  it('lets a longer base raise the caps under it, never one beside or over it', () => {
    const base = { backoff: { baseMs: 600_000 } };
    const cap = { backoff: { capMs: 10 } };
    expect(resolveOptions(base).backoff.capMs).toBe(600_000);
    expect(resolveOptions(base, cap).backoff.capMs).toBe(600_000);
    expect(resolveOptions(base, undefined, cap).backoff.capMs).toBe(10);
    expect(resolveOptions({ backoff: { baseMs: 600_000, capMs: 10 } }).backoff.capMs).toBe(10);
    expect(resolveOptions(cap).backoff).toMatchObject({ baseMs: 1_000, capMs: 10 });
  });
});

describe('levelOf', () => {
  for (const [priority, level] of [
    ['low', 2],
    ['normal', 5],
    ['high', 7],
    ['critical', 9],
    [0, 0],
    [undefined, 5],
  ] as const) {
    it(`priority ${priority} is level ${level}`, () => expect(levelOf(priority)).toBe(level));
  }

  it('a fallback stands in for no priority only', () => {
    expect(levelOf(undefined, 8)).toBe(8);
    expect(levelOf(0, 8)).toBe(0);
  });

  it('is the one of the table when nothing is said', () => {
    expect(levelOf(undefined)).toBe(OPTION_TABLE.task.find((row) => row.path === 'priority')?.default);
  });
});
