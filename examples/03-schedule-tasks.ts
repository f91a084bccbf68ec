import type { TaskContext } from 'millrace/task';

/** Runs once per night; which night it is for, the schedule says, however late it runs. */
export function report({ region }: { readonly region: string }, { schedule }: TaskContext): string {
  const night = new Date(schedule?.fireAt ?? 0).toISOString().slice(0, 10);
  return `report of ${region}, ${night}`;
}
