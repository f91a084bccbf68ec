/**
 * A web server that enqueues and does not run: any number of them beside one worker (`02-web-worker.ts`), in
 * any order of start, restart and crash.
 *
 *     node 02-web-server.js [PORT] [DATA]
 *
 *     POST /seals/KEY?rounds=N   text to seal; 202 when it is on disk; the same KEY is the same task
 *     GET  /seals/ID             the result, or the state of the task
 */
import { createServer, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { DisconnectedError, type Handle, openClient } from 'millrace';
import type * as tasks from './02-web-tasks.js';

const [port = '8080', backend = './data'] = process.argv.slice(2);
const client = await openClient<typeof tasks>({ backend });

/** When the worker dies before it has answered, nobody knows; with a key, asking again is safe. */
async function accept(payload: { text: string; rounds: number }, key: string): Promise<Handle> {
  for (;;) {
    try {
      return await client.enqueue('seal', payload, { unique: { key, forMs: 86_400_000 } });
    } catch (error) {
      if (!(error instanceof DisconnectedError)) throw error;
    }
  }
}

async function answer(request: IncomingMessage): Promise<[status: number, body: object]> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  const [, collection, name] = pathname.split('/');
  if (collection !== 'seals' || !name) return [404, { error: 'no such page' }];
  if (request.method === 'POST') {
    const rounds = Number(searchParams.get('rounds') ?? 1);
    const { id, isNew } = await accept({ text: await text(request), rounds }, name);
    return [202, { id, isNew }];
  }
  const task = await client.get(name);
  if (task === undefined) return [404, { error: 'no such task' }];
  return [200, { state: task.state, result: task.result }];
}

const server = createServer(async (request, response) => {
  const [status, body] = await answer(request).catch((error): [number, object] => [
    400,
    { error: error.message },
  ]);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
});
server.listen(Number(port), () => console.log('listening on', (server.address() as { port: number }).port));

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => server.close(() => void client.close()));
}
