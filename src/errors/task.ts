/** Errors of one task, or of waiting for it. */
import { MillraceError, show } from './base.js';

/** A task with the same unique key exists and `onConflict` is `'reject'`. */
export class DuplicateTaskError extends MillraceError {
  readonly code = 'ERR_MILLRACE_DUPLICATE_TASK';
  /** Id of the task that holds the key. */
  readonly taskId: string;
  readonly key: string;

  constructor(key: string, taskId: string) {
    super(`Unique key ${show(key)} is held by task ${taskId}`);
    this.key = key;
    this.taskId = taskId;
  }
}

/**
 * The task ended dead. `cause` is the error of its last attempt, with its class name, code and own fields.
 */
export class TaskDeadError extends MillraceError {
  readonly code = 'ERR_MILLRACE_TASK_DEAD';
  readonly taskId: string;
  readonly reason: string;

  constructor(taskId: string, reason: string, options?: ErrorOptions) {
    super(`Task ${taskId} is dead (${reason})`, options);
    this.taskId = taskId;
    this.reason = reason;
  }
}

/** The task was cancelled. */
export class TaskCancelledError extends MillraceError {
  readonly code = 'ERR_MILLRACE_TASK_CANCELLED';
  readonly taskId: string;
  readonly reason: string;

  constructor(taskId: string, reason: string) {
    super(`Task ${taskId} was cancelled (${reason})`);
    this.taskId = taskId;
    this.reason = reason;
  }
}

/** No task with this id was ever accepted by this store. */
export class UnknownTaskError extends MillraceError {
  readonly code = 'ERR_MILLRACE_UNKNOWN_TASK';
  readonly taskId: string;

  constructor(taskId: string) {
    super(`No task ${show(taskId)} was ever accepted by this store`);
    this.taskId = taskId;
  }
}

/** The task was settled so long ago that its result has been pruned (`retentionMs`), or it was deleted. */
export class ResultExpiredError extends MillraceError {
  readonly code = 'ERR_MILLRACE_RESULT_EXPIRED';
  readonly taskId: string;

  constructor(taskId: string) {
    super(`Task ${taskId} is settled and its result is no longer kept (retentionMs)`);
    this.taskId = taskId;
  }
}

/** The wait for a result ended before the task did; the task goes on. */
export class WaitTimeoutError extends MillraceError {
  readonly code = 'ERR_MILLRACE_WAIT_TIMEOUT';
  readonly waitMs: number;

  constructor(what: string, waitMs: number) {
    super(`${what} did not end within ${waitMs} ms; it goes on`);
    this.waitMs = waitMs;
  }
}

/** The runtime, or the thread that was asked, is stopped. */
export class StoppedError extends MillraceError {
  readonly code = 'ERR_MILLRACE_STOPPED';

  constructor(what = 'The runtime') {
    super(`${what} is stopped`);
  }
}

/** The task is not in a state in which this can be done to it, for example a redrive of a running task. */
export class WrongStateError extends MillraceError {
  readonly code = 'ERR_MILLRACE_WRONG_STATE';
  readonly taskId: string;
  readonly state: string;

  constructor(taskId: string, state: string, action: string) {
    super(`Task ${taskId} is ${state}; it cannot be ${action}`);
    this.taskId = taskId;
    this.state = state;
  }
}
