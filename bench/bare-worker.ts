/** A bare thread: does its share of the work in a loop, the best any pool can reach. */
import { parentPort } from 'node:worker_threads';
import { work } from './tasks.js';

parentPort!.on('message', ({ count, rounds }: { count: number; rounds: number }) => {
  for (let done = 0; done < count; done++) work(rounds);
  parentPort!.postMessage('done');
});
