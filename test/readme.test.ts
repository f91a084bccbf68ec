/**
 * The README tells what is: its example is the file that runs, its tables come from the code, and no promise
 * is left out. `UPDATE_README=1 npx vitest run test/readme.test.ts` writes the generated parts anew.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Lack, Lacks } from '#src/broker/broker.js';
import { openBackend, parseBackend } from '#src/broker/open.js';
import { systemClock } from '#src/clock.js';
import { OPTION_TABLE, type OptionGroup, type OptionRow } from '#src/options/listing.js';

const README = 'README.md';
const PROMISE_COUNT = 27;
const MAX_EXAMPLE_LINES = 12;

const EXAMPLE_FILES: readonly [path: string, whatItIs: string][] = [
  ['examples/01-first-tasks.ts', 'loaded by the worker threads, never by the main thread'],
  ['examples/01-first.ts', 'the application'],
];

/** Tables of the options: what stands before each path, and whose options they are. */
const TABLES: readonly [head: string, groups: readonly (readonly [prefix: string, group: OptionGroup])[]][] =
  [
    [
      'openRuntime',
      [
        ['', 'runtime'],
        ['queues.*.', 'queue'],
        ['hooks.*.', 'hook'],
        ['limits.', 'limits'],
        ['limits.tasks.*.', 'limit'],
      ],
    ],
    ['openClient', [['', 'client']]],
    ['task, also in enqueue, run and queues.*', [['', 'task']]],
    ['task only', [['', 'definition']]],
    [
      'calls',
      [
        ['enqueue: ', 'enqueue'],
        ['run: ', 'run'],
        ['result: ', 'result'],
        ['map: ', 'map'],
        ['writable: ', 'writable'],
        ['transform: ', 'transform'],
        ['stop: ', 'stop'],
        ['schedule: ', 'schedule'],
        ['schedule, its rule: ', 'rule'],
        ['flow: ', 'flow'],
        ['f.task: ', 'flowTask'],
        ['context.parents: ', 'parents'],
      ],
    ],
  ];

const FEATURES: Readonly<Record<Lack, string>> = {
  durable: 'accepted tasks survive the end of the process',
  atomicBatch: 'a batch is accepted as a whole or not at all',
  unique: 'unique keys',
  flows: 'flows of tasks that wait for each other',
  fencing: 'a former owner can settle nothing',
  peek: 'order is exact up to the start',
  inspect: 'tasks can be listed and counted',
  transfer: 'buffers given with `transfer` are moved, not copied',
};
const BACKENDS: readonly [words: string, open: () => Promise<Lacks>][] = [
  ['a path or `lmdb:`', () => inTemporaryFolder(lacksOf)],
  ['`memory:`', () => lacksOf('memory:')],
];

describe('the README', () => {
  const sections: readonly [name: string, make: () => string | Promise<string>][] = [
    ['example', exampleSection],
    ['backends', backendsSection],
    ['errors', errorsSection],
    ['options', optionsSection],
  ];
  for (const [name, make] of sections) {
    it(`shows the ${name} as the code has them`, async () => {
      const expected = await make();
      if (process.env.UPDATE_README === '1') replaceSection(name, expected);
      expect(sectionOf(name)).toBe(expected);
    });
  }

  it(`has an example of at most ${MAX_EXAMPLE_LINES} lines`, () => {
    const lines = EXAMPLE_FILES.flatMap(([path]) => readFileSync(path, 'utf8').split('\n'));
    expect(lines.filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(MAX_EXAMPLE_LINES);
  });

  it('names each promise once', () => {
    const named = [...readFileSync(README, 'utf8').matchAll(/\*\*P(\d+)\*\*/g)].map((match) =>
      Number(match[1]),
    );
    const all = Array.from({ length: PROMISE_COUNT }, (_, index) => index + 1);
    expect(named.sort((a, b) => a - b)).toEqual(all);
  });
});

function exampleSection(): string {
  const blocks = EXAMPLE_FILES.map(([path, whatItIs]) => {
    const name = path.slice(path.lastIndexOf('/') + 1);
    return `\`${name}\`, ${whatItIs}:\n\n\`\`\`ts\n${readFileSync(path, 'utf8')}\`\`\``;
  });
  return blocks.join('\n\n');
}

async function backendsSection(): Promise<string> {
  const lacks = await Promise.all(BACKENDS.map(([, open]) => open()));
  const rows = (Object.keys(FEATURES) as Lack[]).map((lack) => [
    FEATURES[lack],
    ...lacks.map((each) => (each[lack] === undefined ? 'yes' : `no: ${each[lack]}`)),
  ]);
  return table(['', ...BACKENDS.map(([words]) => words)], rows);
}

/** Each class of error: its code, and the first sentence of its doc comment. */
function errorsSection(): string {
  const texts = readdirSync('src/errors').map((name) => readFileSync(join('src/errors', name), 'utf8'));
  const one =
    /\/\*\*([^/]*?)\*\/\nexport class (\w+) extends MillraceError \{\n {2}readonly code = '(\w+)';/g;
  const classes = texts.flatMap((text) => [...text.matchAll(one)]);
  expect(classes).toHaveLength(texts.join('').split(' extends MillraceError ').length - 1);
  const rows = classes.map(([, comment = '', name, code]) => {
    const meaning = comment.replace(/\s+(?:\* )?/g, ' ').trim();
    return [`\`${code}\``, `\`${name}\``, /^.*?\.(?= |$)/.exec(meaning)?.[0] ?? meaning];
  });
  return table(
    ['code', 'class', 'meaning'],
    rows.sort(([a = ''], [b = '']) => (a < b ? -1 : 1)),
  );
}

function optionsSection(): string {
  return TABLES.map(([head, groups]) => {
    const rows = groups.flatMap(([prefix, group]) =>
      OPTION_TABLE[group].map((row) => [
        `\`${prefix}${row.path}\``,
        takenBy(row),
        defaultOf(row),
        row.meaning,
      ]),
    );
    return table([head, 'takes', 'default', 'meaning'], rows);
  }).join('\n\n');
}

function takenBy({ type, bounds, unit }: OptionRow): string {
  const words = bounds === undefined ? `\`${type}\`` : `\`${type}\`, ${bounds}`;
  return unit === undefined ? words : `${words} (${unit})`;
}

function defaultOf({ isRequired, shownDefault, default: value }: OptionRow): string {
  if (isRequired) return 'required';
  if (shownDefault !== undefined) return shownDefault;
  if (value === undefined) return '';
  if (typeof value === 'number') return value.toLocaleString('en').replace('∞', 'Infinity');
  if (typeof value === 'string') return `\`'${value}'\``;
  if (typeof value === 'boolean') return `\`${value}\``;
  const isEmpty = value instanceof Map ? value.size === 0 : Object.keys(value as object).length === 0;
  return isEmpty ? 'none' : '';
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

async function lacksOf(location: string): Promise<Lacks> {
  const backend = await openBackend(parseBackend(location), {
    ifLocked: 'fail',
    limits: { maxPendingEnqueues: 1, maxPendingBytes: 1 },
    space: { maxBytes: Number.POSITIVE_INFINITY, minFreeBytes: 0 },
    clock: systemClock,
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  });
  await backend.close();
  return backend.broker.lacks;
}

async function inTemporaryFolder(use: (folder: string) => Promise<Lacks>): Promise<Lacks> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-readme-'));
  try {
    return await use(join(folder, 'data'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What stands between the section's markers. */
function sectionOf(name: string): string {
  return splitAt(name)[1];
}

function replaceSection(name: string, text: string): void {
  const [before, , after] = splitAt(name);
  writeFileSync(README, `${before}${text}${after}`);
}

function splitAt(name: string): [before: string, section: string, after: string] {
  const text = readFileSync(README, 'utf8');
  const begin = `<!-- ${name}:begin -->\n`;
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(`<!-- ${name}:end -->`, from);
  if (from < begin.length || to < 0) throw new Error(`${README} has no section ${name}`);
  return [text.slice(0, from), text.slice(from, to).trim(), `\n${text.slice(to)}`];
}
