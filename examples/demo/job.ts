/**
 * What the command line asks for, and the data folder: `store/` and beside it `job.json`, which says to which folder
 * the store belongs and whether all of it is done. A store is deleted only when it is.
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { WalkOptions } from './walk.js';

export interface Job extends WalkOptions {
  readonly store: string;
  /** By default as many as the machine has cores. */
  readonly threads: number | undefined;
  /** What to type to go on. */
  readonly command: string;
}

/** The command cannot be carried out; the message says why, and nothing has been touched. */
export class Refusal extends Error {}

const USAGE = 'npm run demo [-- FOLDER] [--all] [--threads N] [--data DIR]';
const NODE_MODULES = fileURLToPath(new URL('../../../node_modules', import.meta.url));
/** Of the default folder; a folder that is named is taken whole. */
const DEFAULT_BYTES = 200_000_000;

/** @throws {Refusal} */
export function readJob(args: readonly string[]): Job {
  const { values, positionals } = parse(args);
  const [named] = positionals;
  const threads = values.threads === undefined ? undefined : Number(values.threads);
  if (positionals.length > 1 || (threads !== undefined && !(Number.isInteger(threads) && threads > 0))) {
    throw new Refusal(`Usage: ${USAGE}`);
  }
  const folder = resolve(named ?? NODE_MODULES);
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw new Refusal(`No folder ${folder}`);
  const data = resolve(values.data ?? '.demo');
  return {
    folder: realpathSync(folder),
    data,
    store: join(data, 'store'),
    maxBytes: named === undefined && !values.all ? DEFAULT_BYTES : Number.POSITIVE_INFINITY,
    threads,
    command: ['npm run demo', ...(args.length > 0 ? ['--'] : []), ...args.map(quoted)].join(' '),
  };
}

/** Makes the data folder this job's own. @throws {Refusal} when it holds something else that is not finished. */
export function beginJob({ folder, data, store }: Job): void {
  const last = readLast(data);
  if (last === undefined && existsSync(store)) throw new Refusal(`${store} is not a store of this demo`);
  if (last !== undefined && !last.isDone && last.folder !== folder) {
    throw new Refusal(
      `${data} holds an unfinished run over ${last.folder}. Finish that one first, name another place with ` +
        `--data DIR, or delete ${data}.`,
    );
  }
  if (last?.isDone) rmSync(store, { recursive: true, force: true });
  writeLast(data, { folder, isDone: false });
}

/** All is done and has been shown. */
export function finishJob({ folder, data }: Job): void {
  writeLast(data, { folder, isDone: true });
}

interface Last {
  readonly folder: string;
  readonly isDone: boolean;
}

function readLast(data: string): Last | undefined {
  const path = join(data, 'job.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
}

/** Written aside and renamed, so that it is whole at every moment. */
function writeLast(data: string, last: Last): void {
  mkdirSync(data, { recursive: true });
  const path = join(data, 'job.json');
  writeFileSync(`${path}.new`, `${JSON.stringify(last)}\n`, { flush: true });
  renameSync(`${path}.new`, path);
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { all: { type: 'boolean' }, threads: { type: 'string' }, data: { type: 'string' } },
    });
  } catch (error) {
    throw new Refusal(`${(error as Error).message}\nUsage: ${USAGE}`);
  }
}

function quoted(text: string): string {
  return /^[\w./:=@+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
