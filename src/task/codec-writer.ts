/**
 * Writes one value in the plain format (`codec-plain.ts`). Refuses whatever the reader could not give back
 * equal, and names the path to it. Knows nothing of codecs, raw payloads or stores.
 *
 * The path costs one store per element: `#trail[d]` is the key that is being written at depth d. So the value
 * is read exactly once, and a getter or a Proxy that answers differently the second time cannot lead astray.
 * `undefined` there means that the container itself is being looked at.
 *
 * Not kept: named properties of arrays, Maps, Sets, Dates and binary leaves, non-enumerable keys, a subclass
 * of a typed array, and that two places held the same object. Getters are called; `toJSON` is not.
 */

import { MillraceError, NotEncodableError } from '../errors.js';
import { type EncodeLimits, PlainBuffer } from './codec-buffer.js';
import { describeInstance, formatPath, STEP } from './codec-path.js';
import { BINARY_KINDS, isDangerousKey, MAX_DEPTH, TAG } from './codec-plain.js';

const TOO_DEEP = `it is nested deeper than ${MAX_DEPTH} levels, or refers to itself`;
const END = TAG.end;
const ObjectPrototype = Object.prototype;
const ArrayPrototype = Array.prototype;
const BufferPrototype = ArrayBuffer.prototype;
const { getPrototypeOf, getOwnPropertySymbols, hasOwn } = Object;
const dateValue = Date.prototype.getTime;
const mapEntries = Map.prototype.entries;
const setValues = Set.prototype.values;
/**
 * The getter that gives a typed array's kind, and undefined for anything else, whatever its prototype claims.
 */
const typedArrayKind = Object.getOwnPropertyDescriptor(
  getPrototypeOf(Uint8Array.prototype),
  Symbol.toStringTag,
)!.get!;

export class PlainWriter extends PlainBuffer {
  #depth = 0;
  readonly #trail: unknown[] = new Array(MAX_DEPTH).fill(0);
  readonly #steps = new Uint8Array(MAX_DEPTH);
  /**
   * Somebody has given all objects an enumerable key, so `for in` shows keys that are not the object's own.
   */
  #inherits = false;
  /** True while a value is being written: a getter that encodes something needs another writer. */
  busy = false;

  /**
   * Writes `first`, then `value`.
   * @returns  A view of this writer's buffer, valid until its next call.
   * @throws {NotEncodableError}
   * @throws {TooLargeError}  `bytes` is the full size, or, where it says so, the size at which writing
   * stopped.
   */
  write(first: number, value: unknown, limits: EncodeLimits, what: string): Uint8Array {
    this.begin(first, limits, what);
    this.#depth = 0;
    this.#inherits = hasEnumerableKey(ObjectPrototype);
    this.busy = true;
    try {
      this.#value(value);
    } catch (error) {
      if (error instanceof MillraceError) throw error;
      throw new NotEncodableError(this.#path(), 'reading it threw an error', { cause: error });
    } finally {
      this.busy = false;
    }
    return this.finish();
  }

  #value(value: unknown): void {
    if (typeof value === 'string') this.text(value);
    else if (typeof value === 'number') this.number(value);
    else if (value === null) this.tag(TAG.null);
    else if (typeof value === 'object') this.#object(value);
    else if (typeof value === 'boolean') this.tag(value ? TAG.true : TAG.false);
    else if (value === undefined) this.tag(TAG.undefined);
    else if (typeof value === 'bigint') this.bigint(value);
    else this.#refuse(`a ${typeof value} cannot be stored`);
  }

  #object(value: object): void {
    const prototype = getPrototypeOf(value);
    if (prototype === ObjectPrototype) this.#record(value as Record<string, unknown>, TAG.object);
    else if (prototype === null) this.#record(value as Record<string, unknown>, TAG.bareObject);
    else if (prototype === ArrayPrototype && Array.isArray(value)) this.#array(value);
    else if (prototype === Date.prototype) this.float(TAG.date, dateValue.call(value));
    else if (prototype === Map.prototype) this.#map(value as Map<unknown, unknown>);
    else if (prototype === Set.prototype) this.#set(value as Set<unknown>);
    else if (ArrayBuffer.isView(value)) this.#view(value);
    else if (prototype === BufferPrototype) this.#leaf('ArrayBuffer', new Uint8Array(value as ArrayBuffer));
    else this.#refuse(`${describeInstance(prototype)} cannot be stored; store plain data`);
  }

  #record(value: Record<string, unknown>, tag: number): void {
    const depth = this.#open(tag, STEP.key);
    if (getOwnPropertySymbols(value).length > 0) this.#refuse('it has a key that is a symbol');
    const trail = this.#trail;
    for (const key in value) {
      if (this.#inherits && !hasOwn(value, key)) continue;
      trail[depth] = key;
      if (isDangerousKey(key)) this.#refuse('a key of this name is not allowed');
      this.text(key);
      this.#value(value[key]);
    }
    this.#close(depth);
  }

  #array(value: readonly unknown[]): void {
    const depth = this.#open(TAG.array, STEP.index);
    const trail = this.#trail;
    const length = value.length;
    for (let index = 0; index < length; index++) {
      trail[depth] = index;
      const item = value[index];
      if (item === undefined && !hasOwn(value, index)) this.#refuse('a hole in an array cannot be stored');
      this.#value(item);
    }
    this.#close(depth);
  }

  #map(value: Map<unknown, unknown>): void {
    const depth = this.#open(TAG.map, STEP.mapKey);
    let index = 0;
    for (const [key, item] of mapEntries.call(value)) {
      this.#trail[depth] = index;
      this.#steps[depth] = STEP.mapKey;
      this.#value(key);
      // An object must not be held on to after the call; its position has to do.
      const named = typeof key === 'string' || typeof key === 'number' || typeof key === 'boolean';
      this.#trail[depth] = named ? key : index;
      this.#steps[depth] = named ? STEP.mapValue : STEP.item;
      this.#value(item);
      index++;
    }
    this.#close(depth);
  }

  #set(value: Set<unknown>): void {
    const depth = this.#open(TAG.set, STEP.item);
    let index = 0;
    for (const item of setValues.call(value)) {
      this.#trail[depth] = index++;
      this.#value(item);
    }
    this.#close(depth);
  }

  #view(value: ArrayBufferView): void {
    // A detached buffer looks empty, but this throws for it: what was transferred must not arrive as nothing.
    const contents = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    this.#leaf(typedArrayKind.call(value) ?? 'DataView', contents);
  }

  #leaf(kind: string, contents: Uint8Array): void {
    const index = (BINARY_KINDS as readonly string[]).indexOf(kind);
    if (index < 0) this.#refuse(`a ${kind} cannot be stored`);
    this.binary(index, contents);
  }

  /** Begins a container; returns its depth from 0, which is the place of its key in the trail. */
  #open(tag: number, step: number): number {
    const depth = this.#depth;
    if (depth === MAX_DEPTH) this.#refuse(TOO_DEEP);
    this.tag(tag);
    this.#steps[depth] = step;
    this.#trail[depth] = undefined;
    this.#depth = depth + 1;
    return depth;
  }

  #close(depth: number): void {
    this.tag(END);
    this.#depth = depth;
  }

  #path(): string {
    return formatPath(this.#trail, this.#steps, this.#depth);
  }

  #refuse(why: string): never {
    throw new NotEncodableError(this.#path(), why);
  }
}

function hasEnumerableKey(value: object): boolean {
  for (const _key in value) return true;
  return false;
}
