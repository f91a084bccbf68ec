/**
 * Tasks that wait for each other: the pages of a book are sealed, then the book.
 *
 *     node 05-flow.js [DATA]
 */
import { openRuntime } from 'millrace';
import type * as tasks from './05-flow-tasks.js';

const pages = ['The miller', 'The race', 'The wheel', 'The stones'];

const runtime = await openRuntime<typeof tasks>({
  backend: process.argv[2] ?? './data',
  tasks: new URL('./05-flow-tasks.js', import.meta.url),
});
const flow = await runtime.flow(
  (f) => {
    const sealed = f.group(pages.map((page) => f.task('seal', page))); // side by side
    const book = f.task('bind', 'On mills', { after: { pages: sealed } }); // once all of them are done
    return { book, label: f.chain(book, f.task('label', 7)) }; // one after the other
  },
  { name: 'book' },
);
console.log(await flow.handles.label.result()); // 7-49897e99
console.log(await flow.settled()); // { state: 'completed', total: 6, completed: 6, … }
await runtime.stop();
