/** Handlers of the benchmarks; the same functions run in piscina, in bare threads and in Millrace. */
import { task } from 'millrace/task';

/** Nothing at all: what remains is the price of the way there and back. */
export function noop(): void {}

/** A fixed amount of work: `rounds` steps of a generator nobody can optimise away. */
export function work(rounds: number): number {
  let state = 1;
  for (let round = 0; round < rounds; round++) state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return state;
}

/** Looks at one byte of each page, as the least that anybody does with what was sent. */
export function touch(payload: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < payload.length; at += 4096) sum += payload[at]!;
  return sum;
}

/** Never returns. */
export const runaway = task(
  (): never => {
    for (;;);
  },
  { timeoutMs: 20, killGraceMs: 0, maxAttempts: 1 },
);
