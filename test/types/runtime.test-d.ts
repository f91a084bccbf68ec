/**
 * What the compiler knows of a runtime over `typeof tasks`. Checked by `tsc -p test/tsconfig.json`; nothing
 * runs.
 */
import type { Duplex, Writable } from 'node:stream';
import type { ReadableStream, WritableStream } from 'node:stream/web';
import { expectTypeOf } from 'vitest';
import {
  daily,
  type Handle,
  openClient,
  openRuntime,
  type Runtime,
  type RuntimeEvent,
  type ScheduleInfo,
  type StopReport,
  type TaskInfo,
} from '#src/index.js';
import { type Setup, type Snooze, setup, type TaskContext, task } from '#src/task-module.js';
import { openTestRuntime } from '#src/testing/index.js';

const tasks = {
  sum: (payload: readonly number[]): number => payload.length,
  later: async (payload: { readonly url: string }): Promise<Uint8Array> => new Uint8Array(payload.url.length),
  nothing: (): void => {},
  maybe: (payload: string, { snooze }: TaskContext): string | Snooze =>
    payload === '' ? snooze(5) : payload,
  defined: task((payload: { readonly id: bigint }) => payload.id, { maxAttempts: 5 }),
  renamed: task((payload: Date) => payload.getTime(), { name: 'at' }),
  pattern: task((payload: boolean) => !payload, { name: 'images.*' }),
  worker: setup(() => ({ app: 1 })) as Setup<number>,
  _helper: (payload: number): number => payload,
  Class: class {},
  constant: 5,
};
type Tasks = typeof tasks;

/** A client has the calls of a runtime, and their types. */
export async function clientTypes(): Promise<void> {
  const client = await openClient<Tasks>({ backend: './data' });
  expectTypeOf(client.run).toEqualTypeOf<Runtime<Tasks>['run']>();
  expectTypeOf(client.enqueue).toEqualTypeOf<Runtime<Tasks>['enqueue']>();
  expectTypeOf(client.enqueueBatch).toEqualTypeOf<Runtime<Tasks>['enqueueBatch']>();
  expectTypeOf(client.map).toEqualTypeOf<Runtime<Tasks>['map']>();
  expectTypeOf(client.writable).toEqualTypeOf<Runtime<Tasks>['writable']>();
  expectTypeOf(client.handle).toEqualTypeOf<Runtime<Tasks>['handle']>();
  expectTypeOf(client.close()).toEqualTypeOf<Promise<void>>();
  // @ts-expect-error a text is no list
  await client.run('sum', 'text');
  // @ts-expect-error a client runs nothing
  await client.register('./more.js');
  // @ts-expect-error a client has no threads
  await openClient({ backend: './data', threads: 2 });
  await openRuntime({ backend: './data', tasks: './tasks.js', ifLocked: 'join' });
}

export async function types(runtime: Runtime<Tasks>): Promise<void> {
  // Results follow from the name.
  expectTypeOf(await runtime.run('sum', [1, 2])).toEqualTypeOf<number>();
  expectTypeOf(await runtime.run('later', { url: 'x' })).toEqualTypeOf<Uint8Array>();
  expectTypeOf(await runtime.run('nothing', undefined)).toEqualTypeOf<void>();
  expectTypeOf(await runtime.run('maybe', 'x')).toEqualTypeOf<string>();
  expectTypeOf(await runtime.run('defined', { id: 1n })).toEqualTypeOf<bigint>();
  expectTypeOf(await runtime.run('at', new Date())).toEqualTypeOf<number>();
  expectTypeOf(await runtime.run('images.crop', true)).toEqualTypeOf<boolean>();

  const handle = await runtime.enqueue('later', { url: 'x' }, { priority: 'high', delayMs: 5 });
  expectTypeOf(handle).toEqualTypeOf<Handle<Uint8Array>>();
  expectTypeOf(await handle.result({ timeoutMs: 5 })).toEqualTypeOf<Uint8Array>();
  expectTypeOf(runtime.handle<'sum'>('id').result()).toEqualTypeOf<Promise<number>>();

  // Payloads are checked by the name.
  // @ts-expect-error a text is no list
  await runtime.run('sum', 'text');
  // @ts-expect-error nobody is called so
  await runtime.run('product', [1]);
  // @ts-expect-error it has another name
  await runtime.run('renamed', new Date());
  // @ts-expect-error an export that begins with _ is no task
  await runtime.run('_helper', 1);
  // @ts-expect-error a class is no task
  await runtime.run('Class', 1);
  // @ts-expect-error a constant is no task
  await runtime.run('constant', 1);
  // @ts-expect-error what setup returns is no task
  await runtime.run('worker', 1);
  // @ts-expect-error misspelt
  await runtime.run('sum', [1], { prioritty: 9 });
  // @ts-expect-error `waitMs` is for run only
  await runtime.enqueue('sum', [1], { waitMs: 9 });

  await runtime.enqueueBatch([
    { name: 'sum', payload: [1] },
    { name: 'defined', payload: { id: 1n }, options: { unique: { key: 'x' } } },
    // @ts-expect-error the payload of another task
    { name: 'sum', payload: { id: 1n } },
  ]);

  const made = await runtime.schedule('a', daily('09:00'), 'sum', [1], { misfire: 'all', priority: 'low' });
  expectTypeOf(made.isNew).toEqualTypeOf<boolean>();
  expectTypeOf(await runtime.schedules.get('a')).toEqualTypeOf<ScheduleInfo | undefined>();
  expectTypeOf(await runtime.schedules.runNow('a')).toEqualTypeOf<Handle>();
  await runtime.schedule('a', { at: new Date() }, 'nothing', undefined);
  // @ts-expect-error the payload of another task
  await runtime.schedule('a', { everyMs: 1_000 }, 'sum', 'text');
  // @ts-expect-error nobody is called so
  await runtime.schedule('a', { everyMs: 1_000 }, 'product', [1]);
  // @ts-expect-error a fire has its own time
  await runtime.schedule('a', { everyMs: 1_000 }, 'sum', [1], { runAt: 5 });
  // @ts-expect-error misspelt
  await runtime.schedule('a', { corn: '* * * * *' }, 'sum', [1]);

  const sums = runtime.map([[1], [2]], 'sum', { concurrency: 5, ordered: false });
  expectTypeOf(sums).toEqualTypeOf<AsyncIterableIterator<number>>();
  // @ts-expect-error texts are no lists
  runtime.map(['text'], 'sum');
  // @ts-expect-error one key would make one task of all
  runtime.map([[1]], 'sum', { options: { unique: { key: 'k' } } });
  expectTypeOf(runtime.writable('sum')).toEqualTypeOf<Writable>();
  expectTypeOf(runtime.transform('sum')).toEqualTypeOf<Duplex>();
  expectTypeOf(runtime.writable('at', { web: true })).toEqualTypeOf<WritableStream<Date>>();
  const { readable } = runtime.transform('sum', { web: true });
  expectTypeOf(readable).toEqualTypeOf<ReadableStream<number>>();

  expectTypeOf(await runtime.get('id')).toEqualTypeOf<TaskInfo | undefined>();
  expectTypeOf(await runtime.stop()).toEqualTypeOf<StopReport>();
  for await (const event of runtime.events({ kinds: ['dead'] })) {
    expectTypeOf(event).toEqualTypeOf<RuntimeEvent>();
    if (event.kind === 'dead') expectTypeOf(event.reason).toEqualTypeOf<string>();
    // @ts-expect-error only some kinds have it
    event.nextAttemptAt;
  }
  const more = await runtime.register<{ late: (payload: number) => string }>('./late.js');
  expectTypeOf(await more.run('late', 5)).toEqualTypeOf<string>();
  expectTypeOf(await more.run('sum', [5])).toEqualTypeOf<number>();
}

export async function opening(): Promise<void> {
  const known = await openRuntime<Tasks>({ backend: 'memory:', tasks: './tasks.js' });
  expectTypeOf(known).toEqualTypeOf<Runtime<Tasks>>();
  // Without a module type everything goes.
  const loose = await openRuntime({ backend: 'memory:', tasks: [new URL('file:///tasks.js')] });
  await loose.run('anything', { at: 'all' });
  // @ts-expect-error the tasks are missing
  await openRuntime({ backend: 'memory:' });
  // @ts-expect-error misspelt
  await openRuntime({ backend: 'memory:', tasks: './tasks.js', treads: 4 });

  const tested = await openTestRuntime({ tasks });
  expectTypeOf(await tested.run('defined', { id: 1n })).toEqualTypeOf<bigint>();
  expectTypeOf(await tested.runNext()).toEqualTypeOf<TaskInfo | undefined>();
  const byUrl = await openTestRuntime({ tasks: './tasks.js' });
  await byUrl.run('anything', 1);
  const told = await openTestRuntime<Tasks>({ tasks: new URL('file:///tasks.js') });
  expectTypeOf(await told.run('sum', [1])).toEqualTypeOf<number>();
}
