/** Rules for values that only the host has: functions, modules, codecs, services, its environment. */
import { InvalidArgumentError } from '../errors.js';
import type { Codec } from '../task/codec.js';
import { checkName, list, type Rule, value } from './rule.js';
import { plainObject } from './shape.js';

/** Has these members as functions; anything but an object has none. */
export function hasMethods(given: unknown, ...methods: readonly string[]): boolean {
  if ((typeof given !== 'object' && typeof given !== 'function') || given === null) return false;
  return methods.every((method) => typeof (given as Record<string, unknown>)[method] === 'function');
}

export const aFunction = value('function', 'a function', (given) => typeof given === 'function');

export const schema = value('Standard Schema', 'a Standard Schema, version 1', (given) => {
  if ((typeof given !== 'object' && typeof given !== 'function') || given === null) return false;
  const standard = (given as { '~standard'?: { version?: unknown } })['~standard'];
  return hasMethods(standard, 'validate') && standard?.version === 1;
});

export const location = value('string | URL', 'a URL or a string of 1 to 4,096 characters', (given) => {
  if (given instanceof URL) return true;
  return typeof given === 'string' && given.length >= 1 && given.length <= 4_096 && !given.includes('\0');
});
const locations = list(location, 1_000, 1);
export const modules: Rule = {
  ...locations,
  type: `${location.type} | ${locations.type}`,
  expected: `${location.expected}, or ${locations.expected}`,
  check: (given, at) =>
    Array.isArray(given) ? locations.check(given, at) : Object.freeze([location.check(given, at)]),
};

const codec = value('Codec', 'a codec: { name, encode, decode }', (given) =>
  hasMethods(given, 'encode', 'decode'),
);
const codecList = list(codec, 100);
export const codecs: Rule = {
  ...codecList,
  check(given, at) {
    const checked = codecList.check(given, at) as readonly Codec[];
    const names = new Set(checked.map((each) => checkName('codec', each.name)));
    if (names.size < checked.length)
      throw new InvalidArgumentError(at, 'an array of codecs with different names');
    return checked;
  },
};

const service = value('object | function', 'an object or a function', (given) => {
  return typeof given === 'function' || (typeof given === 'object' && given !== null);
});
export const services: Rule = {
  type: 'Record<string, object>',
  expected: 'a plain object of objects and functions',
  check(given, at) {
    const entries = Object.entries(plainObject(given, at));
    return Object.freeze(
      Object.fromEntries(entries.map(([key, each]) => [key, service.check(each, `${at}.${key}`)])),
    );
  },
};

const variable = value('string', 'a string', (given) => typeof given === 'string');
/** `process.env` itself is welcome, which is no plain object. */
export const env: Rule = {
  type: 'Record<string, string>',
  expected: 'an object of strings',
  check(given, at) {
    const isObject = typeof given === 'object' && given !== null && !Array.isArray(given);
    if (!isObject) throw new InvalidArgumentError(at, env.expected, given);
    const entries = Object.entries(given).filter(([, each]) => each !== undefined);
    return Object.freeze(
      Object.fromEntries(entries.map(([key, each]) => [key, variable.check(each, `${at}.${key}`)])),
    );
  },
};
