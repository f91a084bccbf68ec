/**
 * The handlers that were known last, stored so that a runtime can open before its threads have told again.
 */
import type { KeyValue } from './broker/key-value.js';
import type { HandlerInfo } from './pool/pool.js';
import { decodeValue, encodeValue } from './task/codec.js';

const KEY = 'manifest';

export async function storeManifest(keyValue: KeyValue, handlers: readonly HandlerInfo[]): Promise<void> {
  const bytes = encodeValue(handlers.map(({ name, pattern, options }) => ({ name, pattern, options })));
  const stored = await keyValue.get(KEY);
  if (stored !== undefined && Buffer.compare(stored.value, bytes) === 0) return;
  await keyValue.put(
    KEY,
    encodeValue(handlers.map(({ name, pattern, options }) => ({ name, pattern, options }))).slice(),
  );
}

export async function loadManifest(keyValue: KeyValue): Promise<readonly HandlerInfo[]> {
  const stored = await keyValue.get(KEY);
  return stored === undefined ? [] : (decodeValue(stored.value) as readonly HandlerInfo[]);
}
