/** What travels between a client and an owner arrives as what it was. */
import { describe, expect, it } from 'vitest';
import * as errors from '#src/errors.js';
import type { RuntimeEvent } from '#src/index.js';
import {
  ERROR_CLASSES,
  receivedError,
  receivedEvent,
  receivedView,
  sentEvent,
  sentView,
} from '#src/remote/forms.js';
import { storeError } from '#src/task/stored-error.js';
import type { TaskView } from '#src/task/task.js';
import { FrameReader, frameOf } from '#src/wire/frames.js';

/** Through a frame, as over the socket. */
function travelled<Value>(value: Value): Value {
  return new FrameReader(2 ** 20).push(frameOf(value))[0] as Value;
}

/** Every class that is exported as an error with a code. */
const CLASSES = Object.entries(errors).filter(
  ([, each]) => typeof each === 'function' && each.prototype instanceof errors.MillraceError,
) as readonly (readonly [string, { readonly prototype: errors.MillraceError }])[];

describe('an error of the owner', () => {
  it('has a class here for each class there', () => {
    expect(CLASSES.length).toBeGreaterThan(20);
    const known = Object.values(ERROR_CLASSES);
    expect(CLASSES.filter(([, each]) => !known.includes(each)).map(([name]) => name)).toEqual([]);
  });

  it('is of its class, with code, fields and cause', () => {
    const cause = new RangeError('below');
    const sent = storeError(new errors.StoreUnavailableError('/x', 'no space', { cause }));
    const received = receivedError(travelled(sent));
    expect(received).toBeInstanceOf(errors.StoreUnavailableError);
    expect(received).toMatchObject({
      code: 'ERR_MILLRACE_STORE_UNAVAILABLE',
      message: expect.stringContaining('no space'),
    });
    expect(received.cause).toMatchObject({ name: 'RangeError', message: 'below' });
  });

  it('of no class of ours stays a plain one', () => {
    const received = receivedError(
      travelled(storeError(Object.assign(new TypeError('x'), { code: 'toString' }))),
    );
    expect(received).toBeInstanceOf(Error);
    expect(received).toMatchObject({ name: 'TypeError', code: 'toString' });
  });
});

/** Nested deeper than a message may be in all, but not than a value may be. */
function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let at = 0; at < depth; at++) value = [value];
  return value;
}

describe('what handlers report', () => {
  it('arrives however deep it is', () => {
    const progress = nested(90);
    const event = { kind: 'progress', progress, taskId: 'a', name: 'b', queue: 'c', at: 1 } as RuntimeEvent;
    expect(receivedEvent(travelled(sentEvent(event)))).toEqual(event);
    const view = { id: 'a', progress } as TaskView;
    expect(receivedView(travelled(sentView(view)))).toEqual(view);
    expect(receivedView(travelled(sentView({ id: 'a' } as TaskView)))).toEqual({ id: 'a' });
  });

  it('of a fenced store has its error', () => {
    const error = new errors.StoreFencedError('/x');
    const event: RuntimeEvent = { kind: 'fenced', error, at: 1 };
    expect(receivedEvent(travelled(sentEvent(event)))).toMatchObject({
      kind: 'fenced',
      error: { code: 'ERR_MILLRACE_STORE_FENCED', message: error.message },
    });
  });
});
