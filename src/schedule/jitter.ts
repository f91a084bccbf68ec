/** Chance that is always the same for the same fire: a restart neither moves a fire nor repeats it. */
import { createHash } from 'node:crypto';
import type { EpochMs } from '../clock.js';

/** Uniform in [0, 1). */
export function jitterOf(id: string, fireAt: EpochMs): number {
  return createHash('sha256').update(`${id}\0${fireAt}`).digest().readUInt32BE(0) / 4_294_967_296;
}
