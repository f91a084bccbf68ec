/**
 * Every error that Millrace throws, one class per reaction a caller can have.
 *
 * Match on `code`: semantic versioning covers the code and the fields, never the message. A message says what
 * is wrong and what would be right. Facts are fields, so that nobody parses a message.
 */
export { MillraceError } from './errors/base.js';
export * from './errors/flow.js';
export * from './errors/input.js';
export * from './errors/schedule.js';
export * from './errors/store.js';
export * from './errors/task.js';
