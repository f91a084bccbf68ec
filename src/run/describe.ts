/** A task as users see it: values decoded on first look, nothing shown of tasks marked `sensitive`. */
import { type Codec, decodeValue } from '../task/codec.js';
import type { TaskView } from '../task/task.js';

/** Everything known of a task. */
export interface TaskInfo extends Omit<TaskView, 'body' | 'result'> {
  /** Decoded on each access; `undefined` when it is not kept, or the task is `sensitive`.
   *  @throws {UnknownCodecError} {@link NotDecodableError} */
  readonly payload: unknown;
  /** Of a completed task, as `payload`. */
  readonly result: unknown;
}

export function describeTask(view: TaskView, codecs: ReadonlyMap<string, Codec>): TaskInfo {
  const { body, result, ...rest } = view;
  const decode = (bytes: Uint8Array | undefined): unknown =>
    bytes === undefined || bytes.length === 0 ? undefined : decodeValue(bytes, codecs);
  return {
    ...rest,
    get payload() {
      return decode(body);
    },
    get result() {
      return decode(result);
    },
  };
}
