/** Errors of schedules. */
import { MillraceError, show } from './base.js';

/** There is no schedule of this id. */
export class UnknownScheduleError extends MillraceError {
  readonly code = 'ERR_MILLRACE_UNKNOWN_SCHEDULE';
  readonly scheduleId: string;

  constructor(scheduleId: string) {
    super(`There is no schedule ${show(scheduleId)}`);
    this.scheduleId = scheduleId;
  }
}
