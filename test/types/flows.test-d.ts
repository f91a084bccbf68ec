/** What the compiler knows of flows. Checked by `tsc -p test/tsconfig.json`; nothing runs. */
import { expectTypeOf } from 'vitest';
import type { Client, FlowHandle, Handle, ParentOutcome, Runtime, SettledFlow } from '#src/index.js';
import type { TaskContext } from '#src/task-module.js';

const tasks = {
  render: (payload: { readonly file: string }): Uint8Array => new Uint8Array(payload.file.length),
  bind: async (payload: { readonly title: string }): Promise<number> => payload.title.length,
  sign: (): string => 'signed',
};
type Tasks = typeof tasks;

export async function flowTypes(runtime: Runtime<Tasks>, client: Client<Tasks>): Promise<void> {
  expectTypeOf(client.flow).toEqualTypeOf<Runtime<Tasks>['flow']>();
  expectTypeOf(client.flows).toEqualTypeOf<Runtime<Tasks>['flows']>();

  const earlier = await runtime.enqueue('sign', undefined);
  const flow = await runtime.flow(
    (f) => {
      const pages = f.group(['a', 'b'].map((file) => f.task('render', { file })));
      const after = { pages, earlier, id: earlier.id, several: [earlier, pages] };
      const book = f.task('bind', { title: 'x' }, { after, whenParentDies: 'run', priority: 'high' });
      const chain = f.chain(book, f.task('sign', undefined));
      const wide = f.chain(book, f.group([f.task('bind', { title: 'y' }), f.task('sign', undefined)]));
      return { pages, book, chain, wide, last: pages.then(f.task('sign', undefined)) };
    },
    { name: 'book', retentionMs: { completed: 1 } },
  );
  // Handles follow from what was returned.
  expectTypeOf(flow.handles.pages).toEqualTypeOf<readonly Handle<Uint8Array>[]>();
  expectTypeOf(flow.handles.book).toEqualTypeOf<Handle<number>>();
  expectTypeOf(flow.handles.chain).toEqualTypeOf<Handle<string>>();
  expectTypeOf(flow.handles.wide).toEqualTypeOf<readonly Handle<number | string>[]>();
  expectTypeOf(flow.settled()).toEqualTypeOf<Promise<SettledFlow>>();

  const nothing = await runtime.flow((f) => {
    f.task('sign', undefined);
  });
  expectTypeOf(nothing).toEqualTypeOf<FlowHandle<void>>();
  // @ts-expect-error nothing was returned
  nothing.handles.book;

  await runtime.flow((f) => {
    // @ts-expect-error no such task
    f.task('paint', {});
    // @ts-expect-error another payload
    f.task('render', { title: 'x' });
    // @ts-expect-error payloads of a flow are copied
    f.task('sign', undefined, { transfer: [] });
    // @ts-expect-error a chain has two steps or more
    f.chain(f.task('sign', undefined));
    // @ts-expect-error a name is no step
    f.group(['sign']);
  });
  // @ts-expect-error a step without a name
  await runtime.flow((f) => f.task('sign', undefined));
  // @ts-expect-error a builder function is not async
  await runtime.flow(async (f) => void f.task('sign', undefined));
}

/** Without a module, any name and any payload. */
export async function anyTypes(runtime: Runtime): Promise<void> {
  const { handles } = await runtime.flow((f) => ({ a: f.chain(f.task('a', 1), f.task('b', { c: 2 })) }));
  await handles.a.result();
}

export async function parentTypes({ parents, enqueue }: TaskContext): Promise<void> {
  for await (const page of parents<Uint8Array>('pages')) expectTypeOf(page).toEqualTypeOf<Uint8Array>();
  for await (const page of parents('pages')) expectTypeOf(page).toEqualTypeOf<unknown>();
  for await (const each of parents<number>('pages', { outcomes: true })) {
    expectTypeOf(each).toEqualTypeOf<ParentOutcome<number>>();
    if (each.state === 'completed') expectTypeOf(each.result).toEqualTypeOf<number>();
  }
  expectTypeOf(await parents<number>('cover').first()).toEqualTypeOf<number>();
  expectTypeOf(enqueue('sign', undefined, { inFlow: true })).toEqualTypeOf<void>();
}
