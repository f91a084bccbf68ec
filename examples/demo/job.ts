/**
 * What the command line asks for, and the data folder: `store/`, and beside it `job.json`, which says of
 * which folder the store is and whether all is done. Only then is a store deleted, by the next run.
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { WalkOptions } from './walk.js';

export interface Job extends WalkOptions {
  readonly store: string;
  /** By default one for each core. */
  readonly threads: number | undefined;
  /** What to type to go on. */
  readonly command: string;
}

/** What `job.json` holds. */
type Note = { readonly folder: string; readonly isDone: boolean };

/** The command cannot be carried out; the message says why. Nothing has been touched. */
export class Refusal extends Error {}

const USAGE = 'Usage: npm run demo [-- FOLDER] [--all] [--threads N] [--data DIR]';
const OPTIONS = { all: { type: 'boolean' }, threads: { type: 'string' }, data: { type: 'string' } } as const;
const NODE_MODULES = fileURLToPath(new URL('../../../node_modules', import.meta.url));
/** Of the default folder; one that is named is taken whole. */
const DEFAULT_BYTES = 200_000_000;

/** @throws {Refusal} {@link TypeError} of `parseArgs`, for options that do not exist. */
export function readJob(args: readonly string[]): Job {
  const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  const threads = values.threads === undefined ? undefined : Number(values.threads);
  if (positionals.length > 1 || (threads !== undefined && !(Number.isInteger(threads) && threads > 0))) {
    throw new Refusal(USAGE);
  }
  const folder = positionals[0] ?? NODE_MODULES;
  if (!existsSync(folder)) throw new Refusal(`There is no folder ${folder}`);
  const data = resolve(values.data ?? '.demo');
  return {
    folder: realpathSync(folder),
    data,
    store: join(data, 'store'),
    maxBytes: folder === NODE_MODULES && !values.all ? DEFAULT_BYTES : Number.POSITIVE_INFINITY,
    threads,
    command: ['npm run demo', ...(args.length > 0 ? ['--'] : []), ...args].join(' '),
  };
}

/** Makes the data folder this job's. @throws {Refusal} when it holds another one that is not done. */
export function beginJob({ folder, data, store }: Job): void {
  const note = join(data, 'job.json');
  const last: Note | undefined = existsSync(note) ? JSON.parse(readFileSync(note, 'utf8')) : undefined;
  if (last === undefined && existsSync(store)) throw new Refusal(`${store} is not a store of this demo`);
  if (last?.isDone === false && last.folder !== folder) {
    const ways = `Finish that first, name another place with --data DIR, or delete ${data}.`;
    throw new Refusal(`${data} holds an unfinished run over ${last.folder}. ${ways}`);
  }
  if (last?.isDone) rmSync(store, { recursive: true, force: true });
  mkdirSync(data, { recursive: true });
  write(data, { folder, isDone: false });
}

/** All is done, and the table has been shown. */
export function finishJob({ folder, data }: Job): void {
  write(data, { folder, isDone: true });
}

/** Aside, then renamed: it is whole at every moment. */
function write(data: string, note: Note): void {
  const path = join(data, 'job.json');
  writeFileSync(`${path}.new`, JSON.stringify(note), { flush: true });
  renameSync(`${path}.new`, path);
}
