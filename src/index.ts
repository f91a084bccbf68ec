/** The public exports of `millrace`, and nothing else. */
export type { AnyModule, BatchItem, NameOf } from './access.js';
export type { FlowCounts, FlowId, FlowPage, FlowState, FlowView, SettledFlow } from './broker/flows.js';
export type { Counts, QueueCounts, TaskFilter } from './broker/inspect.js';
export { type Client, openClient } from './client.js';
export { type Clock, type EpochMs, ManualClock, systemClock } from './clock.js';
export type { TaskPage } from './control.js';
export * from './errors.js';
export type { FlowBuilder } from './flow/flow.js';
export type {
  FlowChain,
  FlowGroup,
  FlowOptions,
  FlowStep,
  FlowTask,
  FlowTaskOptions,
  Parent,
  Parents,
} from './flow/types.js';
export type { FlowAccess } from './flow-access.js';
export { FlowHandle, type FlowSteps, type HandleOf, type HandlesOf } from './flow-handle.js';
export { Handle } from './handle.js';
export type { LimitCalls } from './limit-calls.js';
export type { Logger } from './logger.js';
export type {
  AgeingOptions,
  ClientOptions,
  EnqueueOptions,
  LimitsOptions,
  MapOptions,
  OpenOptions,
  OptionsOfEach,
  QueueOptions,
  ResultOptions,
  RunOptions,
  StopOptions,
  TaskHooks,
  TaskLimitsOptions,
  TransformOptions,
  UniqueOptions,
  WritableOptions,
} from './options/types.js';
export type { TaskInfo } from './run/describe.js';
export type { EventFilter, EventKind, RuntimeEvent } from './run/events.js';
export type { PageRequest } from './run/filters.js';
export type { LimitInForce } from './run/limiting.js';
export type { StopReport } from './run/stopping.js';
export { openRuntime, type Runtime } from './runtime.js';
export {
  type AtRule,
  type CalendarFunction,
  type CronRule,
  daily,
  type EveryRule,
  everyMinutes,
  type MisfirePolicy,
  type NextRule,
  type OverlapPolicy,
  type ScheduleInfo,
  type ScheduleOptions,
  type ScheduleRule,
  Schedules,
  type SchedulesPage,
  type Weekday,
  weekly,
} from './schedules.js';
export type { Codec } from './task/codec.js';
export type { PayloadOf, ResultOf, TasksOf } from './task/define-types.js';
export type {
  BucketRate,
  LaneRule,
  LimitRule,
  LimitScope,
  Quota,
  TaskLimits,
} from './task/limit-rule.js';
export type { ParentOutcome, ParentResults, ParentsOptions, WhenParentDies } from './task/parents.js';
export type { StoredError } from './task/stored-error.js';
export type { Attempt, AttemptOutcome, FinalState, LogLine, TaskId, TaskState } from './task/task.js';
export type { BackoffPolicy, PriorityName, RetentionMs, TaskOptions } from './task/task-options.js';
