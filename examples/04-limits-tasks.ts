import { task } from 'millrace/task';

/** Each tenant may start five at once and then fifty a second, and has two running at most. */
export const thumbnail = task(
  ({ tenant, file }: { readonly tenant: { readonly id: string }; readonly file: string }) =>
    `${tenant.id}/${file}.webp`,
  { limitKey: 'tenant.id', tokenBucket: { capacity: 5, refillPerSec: 50 }, concurrency: 2 },
);
