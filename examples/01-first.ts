import { openRuntime } from 'millrace';
import type * as tasks from './01-first-tasks.js';

const runtime = await openRuntime<typeof tasks>({
  backend: './data', // a folder: what is accepted is on disk
  tasks: new URL('./01-first-tasks.js', import.meta.url), // loaded by the worker threads
});
const handle = await runtime.enqueue('fibonacci', 32, { priority: 'high' });
console.log(await handle.result()); // 2178309
await runtime.stop();
