/**
 * A file of any size through worker threads, in memory that does not grow with it: what is read waits for the
 * threads, and the threads for whoever takes their results.
 *
 *     node 06-stream.js [FILE [DATA]]
 */
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { openRuntime } from 'millrace';
import type * as tasks from './06-stream-tasks.js';

const [file = fileURLToPath(import.meta.url), backend = './data'] = process.argv.slice(2);

const runtime = await openRuntime<typeof tasks>({
  backend,
  tasks: new URL('./06-stream-tasks.js', import.meta.url),
  maxWaiting: 1_000, // nobody else floods it either
});
const totals = new Map<string, number>();

await pipeline(
  createReadStream(file, 'utf8'),
  wholeLines,
  runtime.transform('tally', { ordered: false, options: { retentionMs: { completed: 60_000 } } }),
  async (tallies: AsyncIterable<Map<string, number>>) => {
    for await (const counts of tallies) {
      for (const [word, count] of counts) totals.set(word, (totals.get(word) ?? 0) + count);
    }
  },
);
for (const [word, count] of [...totals].sort(([, a], [, b]) => b - a).slice(0, 5)) console.log(count, word);
await runtime.stop();

/** Chunks of a file, cut where lines end. */
async function* wholeLines(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf('\n') + 1;
    if (end > 0) yield rest + chunk.slice(0, end);
    rest = end > 0 ? chunk.slice(end) : rest + chunk;
  }
  if (rest !== '') yield rest;
}
