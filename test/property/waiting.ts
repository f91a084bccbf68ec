/** Somebody who waits for the end of a task, and what the model says of it. */
import assert from 'node:assert/strict';
import type { Settled } from '#src/broker/broker.js';
import { textOf } from '../fixtures/kill-oracle.js';

export interface Waiting {
  readonly text: string;
  readonly settled: Promise<Settled | Error>;
  expected: string | undefined;
}

export async function told({ settled, expected, text }: Waiting): Promise<void> {
  const actual = await settled;
  if (actual instanceof Error) assert.equal((actual as { code?: string }).code, expected, text);
  else
    assert.equal(
      `${actual.state} ${actual.reason ?? textOf(actual.result ?? Buffer.alloc(0))}`,
      expected,
      text,
    );
}
