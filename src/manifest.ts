/**
 * What the last runtime knew of its tasks, stored with them: a runtime can open before its threads have told
 * again, and a caretaker accepts tasks by the rules that a runtime would apply.
 */
import type { KeyValue } from './broker/key-value.js';
import { TooLargeError } from './errors.js';
import type { CheckedQueueOptions, RuntimeOptions } from './options/types.js';
import type { HandlerInfo } from './pool/pool.js';
import { decodeValue, encodeValue } from './task/codec.js';
import type { CheckedLimits } from './task/limit-rule.js';

const LIMITS = [
  'maxPayloadBytes',
  'maxBufferBytes',
  'maxResultBytes',
  'maxBytes',
  'minFreeBytes',
  'maxWaiting',
  'whenFull',
] as const;

export interface Manifest {
  readonly handlers: readonly HandlerInfo[];
  readonly queues: ReadonlyMap<string, CheckedQueueOptions>;
  readonly limits: Partial<Pick<RuntimeOptions, (typeof LIMITS)[number]>>;
  /** What the options say of how often tasks start: it says what lanes they wait in. */
  readonly rules: CheckedLimits;
}

const KEY = 'manifest';
const NOTHING: Manifest = {
  handlers: [],
  queues: new Map(),
  limits: {},
  rules: { queues: new Map(), tasks: new Map() },
};

/** Resolves when it is flushed; does nothing when it is stored already. */
export async function storeManifest(
  keyValue: KeyValue,
  handlers: readonly HandlerInfo[],
  { queues, limits: rules, ...options }: RuntimeOptions,
): Promise<void> {
  const manifest: Manifest = {
    handlers: handlers.map(({ name, pattern, options }) => ({ name, pattern, options })),
    queues,
    limits: Object.fromEntries(LIMITS.map((name) => [name, options[name]])),
    rules,
  };
  const bytes = bytesOf(manifest);
  const stored = await keyValue.get(KEY);
  if (stored !== undefined && Buffer.compare(stored.value, bytes) === 0) return;
  await keyValue.put(KEY, bytes);
}

/** A fact has a bound. With so many queues or rules a caretaker does without them. */
function bytesOf(manifest: Manifest): Uint8Array {
  try {
    return encodeValue(manifest).slice();
  } catch (error) {
    if (!(error instanceof TooLargeError)) throw error;
    return encodeValue({ ...manifest, queues: new Map(), rules: NOTHING.rules }).slice();
  }
}

export async function loadManifest(keyValue: KeyValue): Promise<Manifest> {
  const stored = await keyValue.get(KEY);
  if (stored === undefined) return NOTHING;
  const manifest = decodeValue(stored.value) as Manifest | readonly HandlerInfo[];
  // In stores made before 0.1 it is the handlers alone.
  return Array.isArray(manifest)
    ? { ...NOTHING, handlers: manifest }
    : { ...NOTHING, ...(manifest as Manifest) };
}
