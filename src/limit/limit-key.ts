/**
 * The limit key of a task: what its payload says at a path. Only own members are looked at, so that no path
 * leads to a prototype. A payload that has nothing there has the key `''`, which all such tasks share.
 */
import { InvalidArgumentError } from '../errors.js';
import { checkLimitKey } from '../options/limit-table.js';

const EXPECTED = 'a string, number, bigint or boolean';

/** @throws {InvalidArgumentError} naming the path, for a value that is no key; never showing the value. */
export function keyAt(payload: unknown, path: string): string {
  let value = payload;
  for (const member of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, member)) return '';
    value = (value as Readonly<Record<string, unknown>>)[member];
  }
  return value === undefined ? '' : keyOf(value, `payload.${path}`);
}

/**
 * A value as a key.
 *
 * @param at  What it is called in the message.
 * @throws {InvalidArgumentError} `ERR_MILLRACE_INVALID_ARGUMENT`
 */
export function keyOf(value: unknown, at: string): string {
  if (typeof value === 'string') return checkLimitKey(value, at);
  if (!['number', 'bigint', 'boolean'].includes(typeof value)) throw new InvalidArgumentError(at, EXPECTED);
  return checkLimitKey(String(value), at);
}

/** The name and key of a lane of limited tasks; `undefined` for another lane. */
export function keyOfLane(lane: string): { readonly name: string; readonly key: string } | undefined {
  const at = lane.indexOf('\0');
  return at < 0 ? undefined : { name: lane.slice(0, at), key: lane.slice(at + 1) };
}
