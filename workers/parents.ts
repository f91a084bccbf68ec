/**
 * `context.parents` on the side of a thread or child: asks the host for the parents of the running task page
 * by page, and reads their results, large ones from their files. Keeps one page at a time.
 */
import {
  InvalidArgumentError,
  ResultExpiredError,
  TaskCancelledError,
  TaskDeadError,
  WrongStateError,
} from '../src/errors.js';
import { checkName, validateParentsOptions } from '../src/options.js';
import type {
  ParentOutcome,
  ParentResults,
  ParentsOptions,
  ParentsPage,
  ParentView,
} from '../src/task/parents.js';
import { reviveError } from '../src/task/stored-error.js';
import type { AttemptRun } from './attempt.js';

/** @throws {InvalidNameError} {@link UnknownOptionError} {@link InvalidArgumentError} */
export function parentsOf(run: AttemptRun, label: string, options?: ParentsOptions): ParentResults<unknown> {
  checkName('label', label);
  const { outcomes } = validateParentsOptions(options, 'options');
  const { session } = run.batch;
  const resultOf = (parent: ParentView): unknown =>
    parent.result === undefined ? undefined : session.decode(parent.result);
  const read = outcomes
    ? (parent: ParentView) => outcomeOf(parent, resultOf)
    : (parent: ParentView) => resultOf(completed(parent));
  return {
    [Symbol.asyncIterator]: () => each(run, label, read),
    async first() {
      for await (const value of each(run, label, read)) return value;
      throw new InvalidArgumentError('label', 'one under which the task has a parent', label);
    },
  };
}

async function* each(
  run: AttemptRun,
  label: string,
  read: (parent: ParentView) => unknown,
): AsyncGenerator<unknown, void, undefined> {
  let after: string | undefined;
  do {
    const page: ParentsPage = await run.parents(after === undefined ? { label } : { label, after });
    for (const parent of page.parents) yield read(parent);
    after = page.after;
  } while (after !== undefined);
}

/** @throws {TaskDeadError} {@link TaskCancelledError} {@link ResultExpiredError} {@link WrongStateError} */
function completed(parent: ParentView): ParentView {
  const { id, state, reason, error } = parent;
  switch (state) {
    case 'completed':
      return parent;
    case 'cancelled':
      throw new TaskCancelledError(id, reason ?? 'cancelled');
    case 'dead':
      throw new TaskDeadError(
        id,
        reason ?? 'failed',
        error === undefined ? {} : { cause: reviveError(error) },
      );
    case 'expired':
      throw new ResultExpiredError(id);
    default:
      throw new WrongStateError(id, state, 'read by the task that came after it');
  }
}

function outcomeOf(parent: ParentView, resultOf: (parent: ParentView) => unknown): ParentOutcome {
  const { id, state, reason, error } = parent;
  switch (state) {
    case 'completed':
      return { id, state, result: resultOf(parent) };
    case 'cancelled':
      return { id, state, reason: reason ?? 'cancelled' };
    case 'dead':
      return {
        id,
        state,
        reason: reason ?? 'failed',
        error,
      };
    default:
      return { id, state };
  }
}
