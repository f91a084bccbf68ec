/**
 * The process that runs what web servers enqueue (`02-web-server.ts`). Start the next one before the old one
 * ends: it waits for the folder with its threads ready, so a deploy takes no pause. A kill loses nothing.
 *
 *     node 02-web-worker.js [DATA]
 */
import { openRuntime } from 'millrace';

const [backend = './data'] = process.argv.slice(2);

await openRuntime({
  backend,
  tasks: new URL('./02-web-tasks.js', import.meta.url),
  ifLocked: 'wait', // while the old one ends
  stopOn: ['SIGTERM', 'SIGINT'],
});
console.log('working');
