import { createHash } from 'node:crypto';

/** Busy work: the hash of a hash of a hash. */
export function seal({ text, rounds }: { readonly text: string; readonly rounds: number }): string {
  let seal = text;
  for (let round = 0; round < rounds; round++) seal = createHash('sha256').update(seal).digest('hex');
  return seal;
}
