/** How the rows of `work` are written and read: what is still to be done for flows, and by whom they wait. */
import { StoreCorruptError } from '../../../errors.js';
import { readU48, u48 } from '../keys.js';
import { NODE_KEY_CHARS, PARENT_STATES, type ParentState } from './rows.js';

const WALK = 'w';
const ERRAND = 'f';
const OUTSIDE = 'o';
const FLOW_KEY_CHARS = 6;

/** What is done to a whole flow. The index is stored: append only. `stage` only says that it is begun. */
const ERRANDS = ['stage', 'start', 'cancel', 'redrive', 'delete'] as const;
export type ErrandKind = (typeof ERRANDS)[number];

export type WorkRow =
  | { readonly of: 'walk'; readonly key: string; readonly state: ParentState; readonly cursor: string }
  | { readonly of: 'errand'; readonly flow: number; readonly kind: ErrandKind; readonly cursor: string }
  | { readonly of: 'outside'; readonly key: string };

export function walkKey(parent: string): string {
  return WALK + parent;
}

export function errandKey(flow: number): string {
  return ERRAND + u48(flow);
}

export function outsideKey(task: string): string {
  return OUTSIDE + task;
}

export function walkValue(state: ParentState, cursor: string): string {
  return String.fromCharCode(PARENT_STATES.indexOf(state)) + cursor;
}

export function errandValue(kind: ErrandKind, cursor: string): string {
  return String.fromCharCode(ERRANDS.indexOf(kind)) + cursor;
}

/** @throws {StoreCorruptError} */
export function readWork(key: string, value: string, where: string): WorkRow {
  const rest = key.slice(1);
  const cursor = value.slice(1);
  const state = PARENT_STATES[value.charCodeAt(0)];
  const kind = ERRANDS[value.charCodeAt(0)];
  if (key[0] === OUTSIDE && rest.length === NODE_KEY_CHARS) return { of: 'outside', key: rest };
  if (key[0] === WALK && rest.length === NODE_KEY_CHARS && state !== undefined)
    return { of: 'walk', key: rest, state, cursor };
  if (key[0] === ERRAND && rest.length === FLOW_KEY_CHARS && kind !== undefined)
    return { of: 'errand', flow: readU48(rest, 0), kind, cursor };
  throw new StoreCorruptError(where, 'a row of what is done to flows has an unknown format');
}
