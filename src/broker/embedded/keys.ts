/**
 * Keys of the embedded store: fixed-width big-endian numbers as latin1 text. The table in `tables.ts` names
 * them.
 */

const scratch = Buffer.alloc(32);

/** Lane of tasks that have no limit of their own. */
export const PLAIN_LANE = '\0\0\0\0\0\0\0\0';

export const U48_MAX = 2 ** 48 - 1;

/** 6 bytes of `value`, clamped to 0 … 2^48 − 1, so that an endless instant sorts last. */
export function u48(value: number): string {
  putU48(scratch, value, 0);
  return scratch.toString('latin1', 0, 6);
}

export function u16(value: number): string {
  return String.fromCharCode(value >>> 8, value & 255);
}

/**
 * Where a task lives: its segment and index. Key of `task` and `note`, and of `done` for a row's first task.
 */
export function taskKey(segment: number, index: number): string {
  putU48(scratch, segment, 0);
  scratch[6] = index >>> 8;
  scratch[7] = index & 255;
  return scratch.toString('latin1', 0, 8);
}

/** Prefix of all segments of one line and level. */
export function levelPrefix(queue: number, lane: string, level: number): string {
  return u16(queue) + lane + String.fromCharCode(9 - level);
}

export function readU48(key: string, at: number): number {
  return (
    (key.charCodeAt(at) * 256 + key.charCodeAt(at + 1)) * 4294967296 +
    (((key.charCodeAt(at + 2) << 24) |
      (key.charCodeAt(at + 3) << 16) |
      (key.charCodeAt(at + 4) << 8) |
      key.charCodeAt(at + 5)) >>>
      0)
  );
}

export function readU16(key: string, at: number): number {
  return (key.charCodeAt(at) << 8) | key.charCodeAt(at + 1);
}

export function putU48(target: Uint8Array, value: number, at: number): void {
  const whole = value >= U48_MAX ? U48_MAX : value > 0 ? Math.floor(value) : 0;
  const high = Math.floor(whole / 4294967296);
  const low = whole >>> 0;
  target[at] = high >>> 8;
  target[at + 1] = high & 255;
  target[at + 2] = low >>> 24;
  target[at + 3] = (low >>> 16) & 255;
  target[at + 4] = (low >>> 8) & 255;
  target[at + 5] = low & 255;
}

export function getU48(source: Uint8Array, at: number): number {
  return (
    (source[at]! * 256 + source[at + 1]!) * 4294967296 +
    (((source[at + 2]! << 24) | (source[at + 3]! << 16) | (source[at + 4]! << 8) | source[at + 5]!) >>> 0)
  );
}
