/**
 * From what the caller wrote to a task that can be stored: names checked, options laid over, payload encoded.
 */
import { InvalidArgumentError, InvalidPayloadError, TooLargeError, UnknownCodecError } from '../errors.js';
import type { CheckedEnqueueOptions, EnqueueOptions } from '../options/types.js';
import { levelOf, validateEnqueueOptions } from '../options.js';
import type { EnqueueRequest } from '../pool/pool.js';
import { type Codec, decodeValue, type EncodeLimits, encodeValue, isEncoded } from '../task/codec.js';
import type { StandardSchema } from '../task/define-types.js';
import type { FireOf, NewTask, TaskId, TransferredPayload } from '../task/task.js';
import type { TaskOptions } from '../task/task-options.js';
import type { Limiting } from './limiting.js';
import type { NameEntry, Placement, Registry } from './registry.js';

export interface FrontOptions {
  readonly registry: Registry;
  readonly limiting: Pick<Limiting, 'isUsed' | 'laneOf'>;
  readonly codecs: ReadonlyMap<string, Codec>;
  readonly limits: EncodeLimits;
  readonly now: () => number;
  /** Buffers are kept as they are instead of being written out. */
  readonly keepsTransfers: boolean;
  /** Nothing ever runs here: no name counts as unhandled. */
  readonly runsNothing: boolean;
}

/** A task that was checked and encoded in another process, and is checked again here. */
export interface EncodedTask {
  readonly name: string;
  readonly body: Uint8Array;
  readonly options?: CheckedEnqueueOptions;
}

const NO_OPTIONS: CheckedEnqueueOptions = Object.freeze({});
const EMPTY = new Uint8Array(0);

export class Front {
  readonly #options: FrontOptions;

  constructor(options: FrontOptions) {
    this.#options = options;
  }

  /**
   * Checks and encodes one enqueue. A promise only where the host's schema answers later.
   * @throws {InvalidNameError} {@link UnknownOptionError} {@link InvalidArgumentError}
   *   {@link InvalidPayloadError} {@link NotEncodableError} {@link TooLargeError} {@link UnknownCodecError}
   */
  prepare(name: string, payload: unknown, options: EnqueueOptions | undefined): NewTask | Promise<NewTask> {
    const entry = this.#options.registry.entry(name);
    const checked = options === undefined ? NO_OPTIONS : validateEnqueueOptions(options, 'options');
    const schema = entry.hooks?.validate;
    if (schema === undefined) return this.#make(entry, payload, checked);
    const valid = validate(schema, name, payload);
    if (valid instanceof Promise) return valid.then((value) => this.#make(entry, value, checked));
    return this.#make(entry, valid.value, checked);
  }

  /** For another process that builds the task: checked and encoded here. @throws as {@link Front.prepare} */
  encode(name: string, payload: unknown, options: EnqueueOptions | undefined): EncodedTask {
    const entry = this.#options.registry.entry(name);
    const checked = options === undefined ? NO_OPTIONS : validateEnqueueOptions(options, 'options');
    const { body } = this.#encode(entry, checked, payload);
    const { transfer: _transfer, signal: _signal, ...sent } = checked;
    return Object.keys(sent).length === 0 ? { name, body } : { name, body, options: sent };
  }

  /**
   * What another process has encoded. Nothing of it is believed. A promise only where the host's schema
   * answers later.
   * @throws as {@link Front.prepare}
   */
  fromClient({ name, body, options }: EncodedTask): NewTask | Promise<NewTask> {
    const entry = this.#options.registry.entry(name);
    const checked = options === undefined ? NO_OPTIONS : validateEnqueueOptions(options, 'options');
    if (checked.transfer !== undefined) throw new InvalidArgumentError('options.transfer', 'absent');
    checkEncoded(body, this.#options.limits);
    const schema = entry.hooks?.validate;
    if (schema === undefined) return this.#build(entry, { body }, checked, this.#laneOfEncoded(name, body));
    const valid = validate(schema, name, decodeValue(body, this.#options.codecs));
    if (valid instanceof Promise) return valid.then((value) => this.#make(entry, value, checked));
    return this.#make(entry, valid.value, checked);
  }

  /** A task that a handler enqueued; its payload is encoded already. */
  fromHandler({ name, body, options, inFlow }: EnqueueRequest, parent: TaskId): NewTask {
    const entry = this.#options.registry.entry(name);
    const checked = options === undefined ? NO_OPTIONS : validateEnqueueOptions(options, 'options');
    const task = { ...this.#build(entry, { body }, checked, this.#laneOfEncoded(name, body)), parent };
    return inFlow === true ? { ...task, inFlow } : task;
  }

  #make(entry: NameEntry, payload: unknown, checked: CheckedEnqueueOptions): NewTask {
    const { limiting } = this.#options;
    // Before buffers are moved out of the payload.
    const lane = limiting.isUsed ? limiting.laneOf(entry.name, () => payload) : undefined;
    return this.#build(entry, this.#encode(entry, checked, payload), checked, lane);
  }

  #laneOfEncoded(name: string, body: Uint8Array): string | undefined {
    const { limiting, codecs } = this.#options;
    return limiting.isUsed ? limiting.laneOf(name, () => decodeValue(body, codecs)) : undefined;
  }

  /** The task of a fire. It starts when it is stored and not before: a fire happens once. */
  fromSchedule({ name, body, options }: EncodedTask, schedule: FireOf): NewTask {
    const entry = this.#options.registry.entry(name);
    const task = this.#build(entry, { body }, options ?? NO_OPTIONS, this.#laneOfEncoded(name, body));
    return { ...task, startAfterCommit: true, schedule };
  }

  #encode(
    entry: NameEntry,
    checked: CheckedEnqueueOptions,
    payload: unknown,
  ): { readonly body: Uint8Array; readonly transfer?: TransferredPayload } {
    const { transfer } = checked;
    const { limits, keepsTransfers } = this.#options;
    if (transfer !== undefined && transfer.length > 0) {
      if (keepsTransfers) return { body: EMPTY, transfer: move(payload, transfer, limits) };
      const body = copyOf(encodeValue(payload, limits, this.#codec(entry, checked), 'payload'));
      // The caller's buffers become empty here as well.
      structuredClone(null, { transfer: [...transfer] });
      return { body };
    }
    const codec = this.#codec(entry, checked);
    const bytes = encodeValue(payload, limits, codec, 'payload');
    const isOwn = codec === undefined && payload instanceof Uint8Array && ArrayBuffer.isView(payload);
    return { body: isOwn ? bytes : copyOf(bytes) };
  }

  #codec(entry: NameEntry, checked: CheckedEnqueueOptions): Codec | undefined {
    const { codec: name = placementOf(entry, checked).codec } = checked;
    if (name === undefined || name === 'plain') return undefined;
    const codec = this.#options.codecs.get(name);
    if (codec === undefined) throw new UnknownCodecError(name);
    return codec;
  }

  #build(
    entry: NameEntry,
    encoded: { readonly body: Uint8Array; readonly transfer?: TransferredPayload },
    checked: CheckedEnqueueOptions,
    lane: string | undefined,
  ): NewTask {
    const unhandled = !entry.isHandled && !this.#options.runsNothing;
    const { name } = entry;
    const { queue, level, startAfterCommit } = placementOf(entry, checked);
    if (checked === NO_OPTIONS && encoded.transfer === undefined && lane === undefined) {
      return { name, queue, level, body: encoded.body, startAfterCommit, unhandled };
    }
    const {
      delayMs,
      runAt,
      staleAt,
      unique,
      transfer: _transfer,
      queue: _queue,
      priority,
      ...rest
    } = checked;
    const { whenFull, signal, ...own } = rest;
    const dueAt = delayMs === undefined ? runAt : this.#options.now() + delayMs;
    return {
      name,
      queue,
      level: levelOf(priority, level),
      body: encoded.body,
      startAfterCommit: checked.startAfterCommit ?? startAfterCommit,
      unhandled,
      ...(Object.keys(own).length === 0 ? {} : { options: own as TaskOptions }),
      ...(lane === undefined ? {} : { lane }),
      ...(dueAt === undefined ? {} : { runAt: dueAt }),
      ...(staleAt === undefined ? {} : { staleAt }),
      ...(unique === undefined ? {} : { unique }),
      ...(encoded.transfer === undefined ? {} : { transfer: encoded.transfer }),
      ...(whenFull === undefined ? {} : { whenFull }),
      ...(signal === undefined ? {} : { signal }),
    };
  }
}

/** @throws {InvalidArgumentError} {@link TooLargeError} */
function checkEncoded(body: unknown, { maxBytes, maxBufferBytes }: EncodeLimits): void {
  if (!(body instanceof Uint8Array) || !isEncoded(body)) {
    throw new InvalidArgumentError('body', 'an encoded payload', typeof body);
  }
  if (body.length > maxBytes + maxBufferBytes) {
    throw new TooLargeError('payload', body.length, maxBytes + maxBufferBytes);
  }
}

function placementOf(entry: NameEntry, { queue }: CheckedEnqueueOptions): Placement {
  return queue === undefined ? entry.home : entry.in(queue);
}

/** The encoder's buffer is used again by the next call. */
function copyOf(view: Uint8Array): Uint8Array {
  const copy = Buffer.allocUnsafe(view.length);
  copy.set(view);
  return copy;
}

function move(payload: unknown, list: readonly ArrayBuffer[], limits: EncodeLimits): TransferredPayload {
  const bytes = list.reduce((sum, buffer) => sum + buffer.byteLength, 0);
  if (bytes > limits.maxBufferBytes) {
    throw new InvalidArgumentError(
      'options.transfer',
      `at most ${limits.maxBufferBytes} bytes together`,
      bytes,
    );
  }
  try {
    return structuredClone({ value: payload, list: [...list] }, { transfer: [...list] });
  } catch (cause) {
    throw new InvalidArgumentError(
      'options.transfer',
      'whole buffers of a payload of plain data',
      undefined,
      { cause },
    );
  }
}

function validate(
  schema: StandardSchema,
  name: string,
  payload: unknown,
): { value: unknown } | Promise<unknown> {
  const checked = schema['~standard'].validate(payload);
  const take = (result: Awaited<typeof checked>): { value: unknown } => {
    if (result.issues === undefined) return { value: result.value };
    const issues = result.issues.map((issue) => {
      const path = (issue.path ?? [])
        .map((part) => String(typeof part === 'object' ? part.key : part))
        .join('.');
      return path === '' ? issue.message : `${path}: ${issue.message}`;
    });
    throw new InvalidPayloadError(name, issues);
  };
  return checked instanceof Promise ? checked.then((result) => take(result).value) : take(checked);
}
