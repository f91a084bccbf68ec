/**
 * Words for a value that cannot be stored: the path that leads to it, and what it is. Runs only on failure,
 * and never calls into the value.
 */

/**
 * How a place in a container is written; the trail holds a key for `key` and `mapValue`, otherwise a
 * position.
 */
export const STEP = { key: 0, index: 1, mapKey: 2, mapValue: 3, item: 4 } as const;

const PATH_MAX = 300;
const KEY_MAX = 60;
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

/**
 * `user.tags[3]`, `["odd key"]`, `map.get("k").x`, `map.keys()[0]`, `set.values()[2]`; the middle of a long
 * one is cut. A trail that ends early, with `undefined`, leads to the container rather than to something in
 * it.
 */
export function formatPath(trail: readonly unknown[], steps: ArrayLike<number>, depth: number): string {
  let path = '';
  for (let level = 0; level < depth; level++) {
    const at = trail[level];
    if (at === undefined) break;
    if (steps[level] === STEP.key) path += formatKey(at as string, path !== '');
    else if (steps[level] === STEP.index) path += `[${String(at)}]`;
    else if (steps[level] === STEP.mapValue) path += `${dot(path)}get(${formatPrimitive(at)})`;
    else path += `${dot(path)}${steps[level] === STEP.mapKey ? 'keys' : 'values'}()[${String(at)}]`;
  }
  return path.length <= PATH_MAX ? path : `${path.slice(0, PATH_MAX / 2)}…${path.slice(-PATH_MAX / 2)}`;
}

/** An instance of which class, found without running a getter of the value's own. */
export function describeInstance(prototype: object): string {
  const owner = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value as unknown;
  const name =
    typeof owner === 'function' ? Object.getOwnPropertyDescriptor(owner, 'name')?.value : undefined;
  return typeof name === 'string' && name !== ''
    ? `an instance of ${name.slice(0, KEY_MAX)}`
    : 'an instance of a class';
}

function formatKey(key: string, inside: boolean): string {
  if (key.length > KEY_MAX || !IDENTIFIER.test(key)) return `[${formatPrimitive(key)}]`;
  return inside ? `.${key}` : key;
}

function formatPrimitive(value: unknown): string {
  if (typeof value !== 'string') return String(value);
  return JSON.stringify(value.length > KEY_MAX ? `${value.slice(0, KEY_MAX - 1)}…` : value);
}

function dot(path: string): string {
  return path === '' ? '' : '.';
}
