import { createHash } from 'node:crypto';
import type { TaskContext } from 'millrace/task';

/** The seal of one page. */
export function seal(page: string): string {
  return createHash('sha256').update(page).digest('hex');
}

/** One seal over those of all pages, in their order. They are fetched as they are read. */
export async function bind(title: string, { parents }: TaskContext): Promise<string> {
  const book = createHash('sha256').update(title);
  for await (const page of parents<string>('pages')) book.update(page);
  return book.digest('hex');
}

/** What comes after a step in a chain finds its result under `previous`. */
export async function label(shelf: number, { parents }: TaskContext): Promise<string> {
  return `${shelf}-${(await parents<string>('previous').first()).slice(0, 8)}`;
}
