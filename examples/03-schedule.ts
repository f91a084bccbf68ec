/**
 * A report each night at three, by the clocks of Berlin. Run it as often as you like: what has fired does not
 * fire again, and the latest night that passed while no process was there is made up.
 *
 *     node 03-schedule.js [DATA]
 */
import { daily, openRuntime } from 'millrace';
import type * as tasks from './03-schedule-tasks.js';

const [backend = './data'] = process.argv.slice(2);
const runtime = await openRuntime<typeof tasks>({
  backend,
  tasks: new URL('./03-schedule-tasks.js', import.meta.url),
});

const nightly = await runtime.schedule(
  'nightly-report',
  daily('03:00', 'Europe/Berlin'), // the same as { cron: '0 3 * * *', timeZone: 'Europe/Berlin' }
  'report',
  { region: 'north' },
  { overlap: 'skip', maxAttempts: 5 }, // of the schedule, and of each of its tasks
);
console.log(nightly.isNew ? 'scheduled' : 'was scheduled', new Date(nightly.nextFires[0]!).toISOString());

const handle = await runtime.schedules.runNow('nightly-report'); // not waiting for the night
console.log(await handle.result());
await runtime.stop();
