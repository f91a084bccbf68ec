/** What `typeof tasks` means to the compiler. Checked by `npm run typecheck`; nothing runs. */
import { expectTypeOf } from 'vitest';
import type { PayloadOf, ResultOf, TasksOf } from '#src/task/define-types.js';
import { type ServiceCall, setup, type Task, type TaskContext, task } from '#src/task-module.js';

interface App {
  readonly model: { run(text: string): number };
}

const module = {
  app: setup<App>(() => ({ app: { model: { run: (text) => text.length } } })),
  thumbnail: task(async (payload: { file: string; width: number }, { app }: TaskContext<App>) => {
    expectTypeOf(app.model.run('')).toEqualTypeOf<number>();
    return new Uint8Array(payload.width);
  }),
  sum: (payload: readonly number[]) => payload.reduce((a, b) => a + b, 0),
  nothing() {},
  optional: (payload?: string) => payload,
  renamed: task((payload: bigint) => payload.toString(), { name: 'other.name', maxAttempts: 2 }),
  pattern: task((_payload: 'a' | 'b') => 1, { name: 'images.*' }),
  snoozing: task((_payload: number, context) => (_payload > 1 ? context.snooze(5_000) : 'done')),
  async later(payload: Date, context: TaskContext): Promise<Map<string, number> | undefined> {
    expectTypeOf(context.signal).toEqualTypeOf<AbortSignal>();
    expectTypeOf(context.enqueue('a', payload, { now: true })).toEqualTypeOf<Promise<string>>();
    expectTypeOf(context.enqueue('a', payload)).toEqualTypeOf<void>();
    expectTypeOf(context.transfer(new Uint8Array(1), [])).toEqualTypeOf<Uint8Array<ArrayBuffer>>();
    return undefined;
  },
  Helper: class {},
  constant: 5,
  _hidden: () => 1,
  default: () => 1,
};
type Tasks = TasksOf<typeof module>;

// Names: handlers only, by the name given to `task()`.
expectTypeOf<keyof Tasks>().toEqualTypeOf<
  'thumbnail' | 'sum' | 'nothing' | 'optional' | 'other.name' | `images.${string}` | 'snoozing' | 'later'
>();

expectTypeOf<PayloadOf<Tasks, 'thumbnail'>>().toEqualTypeOf<{ file: string; width: number }>();
expectTypeOf<ResultOf<Tasks, 'thumbnail'>>().toEqualTypeOf<Uint8Array<ArrayBuffer>>();
expectTypeOf<PayloadOf<Tasks, 'sum'>>().toEqualTypeOf<readonly number[]>();
expectTypeOf<ResultOf<Tasks, 'sum'>>().toEqualTypeOf<number>();
expectTypeOf<PayloadOf<Tasks, 'nothing'>>().toEqualTypeOf<undefined>();
expectTypeOf<PayloadOf<Tasks, 'optional'>>().toEqualTypeOf<string | undefined>();
expectTypeOf<ResultOf<Tasks, 'other.name'>>().toEqualTypeOf<string>();
expectTypeOf<PayloadOf<Tasks, 'images.large'>>().toEqualTypeOf<'a' | 'b'>();
expectTypeOf<ResultOf<Tasks, 'snoozing'>>().toEqualTypeOf<'done'>();
expectTypeOf<PayloadOf<Tasks, 'later'>>().toEqualTypeOf<Date>();
expectTypeOf<ResultOf<Tasks, 'later'>>().toEqualTypeOf<Map<string, number> | undefined>();

// A task may be called in tests, with whatever context it needs.
expectTypeOf(module.renamed).toExtend<Task<bigint, string>>();
expectTypeOf(module.renamed(1n)).toEqualTypeOf<string | Promise<string>>();

// @ts-expect-error: a misspelt option
task((payload: number) => payload, { maxAttempt: 3 });
// @ts-expect-error: an option of the wrong type
task((payload: number) => payload, { timeoutMs: '5s' });

// Services lose their first argument on the way to the handler.
interface HostServices {
  readonly mail: { send(call: ServiceCall, to: string, text: string): Promise<boolean> };
  now(call: ServiceCall): number;
}
type Remote = TaskContext<unknown, HostServices>['services'];
expectTypeOf<Remote['mail']['send']>().toEqualTypeOf<(to: string, text: string) => Promise<boolean>>();
expectTypeOf<Remote['now']>().toEqualTypeOf<() => Promise<number>>();
