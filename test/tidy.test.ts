/**
 * The rules of the house that a machine can check: sizes, names, markers, clocks, the direction of imports.
 * The last block plants one fault per rule, so that no rule can fall silent.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAst } from 'vitest/node';

const FOLDERS = ['src', 'workers', 'bench', 'examples', 'test'];
const MAX_FILE_LINES = 300;
const MAX_TEST_FILE_LINES = 500;
const MAX_LINE_CHARS = 110;
const MAX_FUNCTION_LINES = 60;
/** Their functions are lists of cases and may be longer. */
const SUITES = /^test\/|^src\/testing\/conformance\//;

/** First match wins. A file may import from its own layer and from those it names; `types` are erased. */
const LAYERS: readonly Layer[] = [
  {
    name: 'task',
    files:
      /^src\/(?:task|flow|options|errors|wire)(?:\/|\.ts$)|^src\/(?:task-module|clock|logger|threads)\.ts$/,
    imports: [],
    types: ['port'], // A settlement is what `task/transition.ts` makes and what the port `Broker` takes.
  },
  {
    name: 'port',
    files: /^src\/(?:owner\/|pool\/pool\.ts$|broker\/(?!open|memory)[a-z-]+\.ts$)/,
    imports: ['task'],
  },
  { name: 'worker', files: /^workers\//, imports: ['task'] },
  {
    name: 'composition',
    files: /^src\/(?!index\.)[a-z-]+\.ts$|^src\/(?:broker|pool)\/open\.ts$|^src\/testing\//,
    imports: ['task', 'port', 'worker', 'broker', 'pool', 'limit', 'schedule', 'run', 'remote'],
  },
  { name: 'broker', files: /^src\/broker\//, imports: ['task', 'port'] },
  { name: 'pool', files: /^src\/pool\//, imports: ['task', 'port', 'worker'] },
  { name: 'limit', files: /^src\/limit\//, imports: ['task', 'port'] },
  { name: 'schedule', files: /^src\/schedule\//, imports: ['task', 'port'] },
  { name: 'run', files: /^src\/run\//, imports: ['task', 'port', 'limit', 'schedule'] },
  { name: 'remote', files: /^src\/remote\//, imports: ['task', 'port', 'run'] },
  {
    name: 'surface',
    files: /^src\/index\.ts$|^src\/(?:cli|dashboard|observe)\//,
    imports: ['task', 'port', 'composition'],
    types: ['run'],
  },
];

/** Narrower than the layers: who alone may import these, and what these alone may import. */
const ONLY_IMPORTED_BY: readonly [imported: RegExp, by: RegExp][] = [
  [/^workers\//, /^workers\/|^src\/pool\//],
  [/^lmdb$/, /^src\/broker\/lmdb\//],
  [/^piscina$/, /^src\/pool\//],
  [/^cron-parser$/, /^src\/schedule\//],
  [/^rate-limiter-flexible(?:\/|$)/, /^src\/limit\//],
  [/^comlink$/, /^(?:src\/pool|workers)\/services\.ts$/],
];
const MAY_ONLY_IMPORT: readonly [files: RegExp, imported: RegExp][] = [
  [
    /^workers\//,
    /^workers\/|^src\/(?:task|options|errors|wire)\/|^src\/(?:errors|options)\.ts$|^node:|^comlink$/,
  ],
  [/^examples\//, /^millrace(?:\/|$)|^node:|^examples\//],
];

/** Time and chance are passed in as values; these files are where they come from. */
const CLOCK_FILES = new Set([
  'src/clock.ts',
  'src/run/coordinator.ts',
  'workers/entry.ts',
  'workers/child.ts',
]);
const CLOCK = /\b(?:Date\.now|Math\.random)\b|\bnew Date\(\)/;
/** What decides about tasks sets no timers either, except where it paces its own flushes. */
const TIMELESS = /^src\/(?:task|broker|limit|schedule)\//;
const TIMER_FILES = new Set(['src/broker/embedded/commit.ts']);
const TIMER = /\bset(?:Timeout|Interval)\b/;
const COMMENT = /^\s*(?:\*|\/[/*])/;

const MARKER = new RegExp(`\\b(?:${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')})\\b`);
const SUPPRESSION = /@ts-(?:ignore|nocheck)/;
const DEAD_CODE =
  /^\s*\/\/\s*(?:(?:const|let|import|export|return|await|throw|if|for)\b.*[;{]|[\w.]+\(.*\);|\})\s*$/;
const UNFINISHED_TEST = /\b(?:it|test|describe)(?:\.\w+)*\.(?:only|skip|todo)\b/;
const NO_NAME = /(?:^|[-.])(?:utils?|helpers?|misc)(?:[-.]|$)/;

interface Layer {
  readonly name: string;
  readonly files: RegExp;
  readonly imports: readonly string[];
  readonly types?: readonly string[];
}
/** One import, of a path from the root or of a package. */
interface Import {
  readonly from: string;
  readonly to: string;
  readonly isType: boolean;
}
interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** What one file does wrong, and what it imports. */
function inspect(path: string, text: string): { faults: string[]; imports: Import[] } {
  const lines = text.split('\n');
  const faults = [...sizeFaults(path, lines), ...lineFaults(path, lines)];
  if (path.split('/').some((part) => NO_NAME.test(part.replace(/\.ts$/, ''))))
    faults.push(`${path}: name says nothing`);
  if (isOurs(path) && layerOf(path) === undefined)
    faults.push(`${path}: has no layer; give it one in LAYERS`);
  if (path.startsWith('workers/') && !text.startsWith('/**')) faults.push(`${path}: no header comment`);
  if (!path.endsWith('.ts')) return { faults, imports: [] };
  const imports: Import[] = [];
  for (const node of nodesOf(parseAst(text, { lang: 'ts' }) as unknown as Node)) {
    const source = (node.source ?? (node.type === 'TSImportType' ? node.argument : undefined)) as
      | { value?: unknown }
      | null
      | undefined;
    if (typeof source?.value === 'string') {
      imports.push({ from: path, to: targetOf(path, source.value), isType: isTypeImport(node) });
    }
    const length = text.slice(node.start, node.end).split('\n').length;
    if (isFunction(node) && length > MAX_FUNCTION_LINES && !SUITES.test(path)) {
      const line = text.slice(0, node.start).split('\n').length;
      faults.push(`${path}:${line}: function of ${length} lines`);
    }
  }
  return { faults, imports };
}

function sizeFaults(path: string, lines: readonly string[]): string[] {
  const count = lines.length - (lines.at(-1) === '' ? 1 : 0);
  const max = path.startsWith('test/') ? MAX_TEST_FILE_LINES : MAX_FILE_LINES;
  return count > max ? [`${path}: ${count} lines`] : [];
}

function lineFaults(path: string, lines: readonly string[]): string[] {
  const rules: [what: string, applies: boolean, breaks: (line: string) => boolean][] = [
    ['long line', true, (line) => line.length > MAX_LINE_CHARS],
    ['marker of unfinished work', true, (line) => MARKER.test(line)],
    ['suppressed compiler', true, (line) => SUPPRESSION.test(line)],
    ['commented-out code', true, (line) => DEAD_CODE.test(line)],
    ['unfinished test', path.startsWith('test/'), (line) => UNFINISHED_TEST.test(line)],
    ['clock or chance', isOurs(path) && !CLOCK_FILES.has(path), (line) => isInCode(CLOCK, line)],
    ['timer', TIMELESS.test(path) && !TIMER_FILES.has(path), (line) => isInCode(TIMER, line)],
  ];
  return rules.flatMap(([what, applies, breaks]) => {
    const places = lines.flatMap((line, index) => (applies && breaks(line) ? [index + 1] : []));
    return places.length > 0 ? [`${path}: ${what} at ${places.join(', ')}`] : [];
  });
}

/** Comments may speak of clocks. */
function isInCode(pattern: RegExp, line: string): boolean {
  return pattern.test(line) && !COMMENT.test(line);
}

function* nodesOf(node: Node): Generator<Node> {
  yield node;
  for (const child of Object.values(node).flat()) {
    if (typeof child === 'object' && child !== null && 'type' in child) yield* nodesOf(child as Node);
  }
}

function isFunction({ type }: Node): boolean {
  return ['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression'].includes(type);
}

/** True when nothing of the import is left at run time. */
function isTypeImport(node: Node): boolean {
  if (node.type === 'TSImportType') return true;
  if (node.importKind === 'type' || node.exportKind === 'type') return true;
  const specifiers = node.specifiers as readonly Node[] | undefined;
  if (specifiers === undefined || specifiers.length === 0) return false;
  return specifiers.every((each) => each.importKind === 'type' || each.exportKind === 'type');
}

function targetOf(from: string, specifier: string): string {
  if (specifier.startsWith('#')) return specifier.slice(1).replace(/\.js$/, '.ts');
  if (!specifier.startsWith('.')) return specifier;
  return posix.join(posix.dirname(from), specifier).replace(/\.js$/, '.ts');
}

/** Not the tests, benchmarks and examples. */
function isOurs(path: string): boolean {
  return /^(?:src|workers)\//.test(path);
}

function layerOf(path: string): Layer | undefined {
  return LAYERS.find(({ files }) => files.test(path));
}

/** What an import breaks; tests and benchmarks may import anything. */
function importFaults({ from, to, isType }: Import): string[] {
  const faults: string[] = [];
  const [here, there] = [layerOf(from), layerOf(to)];
  if (isOurs(from)) {
    if (/^(?:bench|examples|test)\//.test(to)) faults.push(`${from}: imports ${to}`);
    if (here !== undefined && there !== undefined && here !== there) {
      const allowed = isType ? [...here.imports, ...(here.types ?? [])] : here.imports;
      if (!allowed.includes(there.name)) faults.push(`${from} (${here.name}): imports ${to} (${there.name})`);
    }
    for (const [imported, by] of ONLY_IMPORTED_BY) {
      if (imported.test(to) && !by.test(from)) faults.push(`${from}: must not import ${to}`);
    }
  }
  for (const [files, imported] of MAY_ONLY_IMPORT) {
    if (files.test(from) && !imported.test(to)) faults.push(`${from}: must not import ${to}`);
  }
  return faults;
}

/** Import cycles: of values none, of types only within one folder. */
function cycleFaults(imports: readonly Import[]): string[] {
  const describeRing = (ring: readonly string[]) => `cycle: ${ring.join(' ↔ ')}`;
  const folders = (ring: readonly string[]) => new Set(ring.map((path) => posix.dirname(path))).size;
  return [
    ...ringsOf(imports.filter(({ isType }) => !isType)),
    ...ringsOf(imports).filter((ring) => folders(ring) > 1),
  ].map(describeRing);
}

/** Sets of files that reach each other, by Tarjan's strongly connected components. */
function ringsOf(imports: readonly Import[]): string[][] {
  const targets = new Map<string, string[]>();
  for (const { from, to } of imports) targets.set(from, [...(targets.get(from) ?? []), to]);
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const rings: string[][] = [];
  function visit(path: string): number {
    order.set(path, order.size);
    lowest.set(path, order.size - 1);
    stack.push(path);
    for (const to of targets.get(path) ?? []) {
      if (!order.has(to)) lowest.set(path, Math.min(lowest.get(path)!, visit(to)));
      else if (stack.includes(to)) lowest.set(path, Math.min(lowest.get(path)!, order.get(to)!));
    }
    if (lowest.get(path) === order.get(path)) {
      const ring = stack.splice(stack.indexOf(path));
      if (ring.length > 1) rings.push(ring.sort());
    }
    return lowest.get(path)!;
  }
  for (const path of targets.keys()) if (!order.has(path)) visit(path);
  return rings;
}

const EXPORTED = /export (?:type )?(?:\{([^}]*)\}|\*) from '([^']+)'/g;

/** What an entry of the package exports from other files, and they in turn, without a doc comment. */
function undocumented(entry: string, read: (path: string) => string): string[] {
  const isDocumented = (path: string, name: string): boolean => {
    const text = read(path);
    if (new RegExp(`\\*/\n(?: *//.*\n)*export (?:\\w+ )+${name}\\b`).test(text)) return true;
    const sources = [...text.matchAll(EXPORTED)].map(([, , from = '']) => targetOf(path, from));
    return sources.some((source) => isDocumented(source, name));
  };
  return [...read(entry).matchAll(EXPORTED)].flatMap(([, names = '', from = '']) =>
    (names.match(/\w+(?=\s*(?:,|$))/g) ?? [])
      .filter((name) => !isDocumented(targetOf(entry, from), name))
      .map((name) => `${targetOf(entry, from)}: ${name} has no doc comment`),
  );
}

function* sources(): Generator<string> {
  for (const folder of FOLDERS) {
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      const path = posix.join(entry.parentPath.replaceAll('\\', '/'), entry.name);
      if (entry.isFile() && /\.(?:ts|mjs|js)$/.test(entry.name) && !path.includes('node_modules')) yield path;
    }
  }
}

describe('the house', () => {
  const faults: string[] = [];
  const imports: Import[] = [];
  let fileCount = 0;
  for (const path of sources()) {
    const found = inspect(path, readFileSync(path, 'utf8'));
    faults.push(...found.faults);
    imports.push(...found.imports);
    fileCount++;
  }

  it('has files', () => expect(fileCount).toBeGreaterThan(50));
  it('is tidy in each file', () => expect(faults).toEqual([]));
  it('imports one way only', () => expect(imports.flatMap(importFaults)).toEqual([]));
  it('has no import cycles', () => expect(cycleFaults(imports)).toEqual([]));
  it('says of each public symbol what it is', () => {
    const read = (path: string) => readFileSync(path, 'utf8');
    const entries = ['src/index.ts', 'src/task-module.ts', 'src/testing/index.ts'];
    expect(entries.flatMap((entry) => undocumented(entry, read))).toEqual([]);
  });
});

describe('a planted fault', () => {
  const long = `function f() {\n${'  f();\n'.repeat(60)}}\n`;
  const PLANTED: readonly [string, string, string][] = [
    ['src/task/a.ts', 'f();\n'.repeat(301), '301 lines'],
    ['test/a.test.ts', 'f();\n'.repeat(501), '501 lines'],
    ['src/task/a.ts', `f('${'x'.repeat(110)}');\n`, 'long line'],
    ['src/task/a.ts', long, 'function of 62 lines'],
    ['src/task/a.ts', `class A {\n  f() {\n${'    f();\n'.repeat(60)}  }\n}\n`, 'function of 62 lines'],
    ['src/task/a.ts', `// ${'TO'}DO: later\n`, 'marker'],
    ['src/task/a.ts', `// @ts-${'ignore'}\n`, 'suppressed'],
    ['src/task/a.ts', '  // const a = 1;\n', 'commented-out'],
    ['src/task/a.ts', '  // run(a, b);\n', 'commented-out'],
    ['test/a.test.ts', `it${'.only'}('a', f);\n`, 'unfinished test'],
    ['test/a.test.ts', `describe${'.skip'}.each([])('a', f);\n`, 'unfinished test'],
    ['src/pool/utils.ts', 'f();\n', 'name says nothing'],
    ['src/pool/test-helpers/a.ts', 'f();\n', 'name says nothing'],
    ['src/attic/a.ts', 'f();\n', 'no layer'],
    ['workers/a.ts', 'f();\n', 'no header'],
    ['src/task/a.ts', 'const a = Date.now();\n', 'clock'],
    ['src/broker/a.ts', 'const a = Math.random();\n', 'clock'],
    ['src/pool/a.ts', 'const a = new Date();\n', 'clock'],
    ['src/broker/a.ts', 'setTimeout(f, 1);\n', 'timer'],
  ];
  for (const [index, [path, text, expected]] of PLANTED.entries()) {
    it(`in one file is found: ${expected} (${index + 1})`, () => {
      expect(inspect(path, text).faults).toEqual([expect.stringContaining(expected)]);
    });
  }

  const WRONG_WAYS: readonly [string, string][] = [
    ['src/task/a.ts', "import { a } from '../broker/broker.js';"],
    ['src/task/a.ts', "export * from '../run/a.js';"],
    ['src/broker/broker.ts', "import type { a } from './lmdb/lmdb.js';"],
    ['src/broker/memory.ts', "import { a } from '../pool/thread.js';"],
    ['src/run/a.ts', "import { a } from '../broker/memory.js';"],
    ['src/run/a.ts', "const a = await import('../runtime.js');"],
    ['src/run/a.ts', "type A = import('../pool/thread.js').A;"],
    ['src/runtime.ts', "import { a } from './index.js';"],
    ['src/runtime.ts', "import { Piscina } from 'piscina';"],
    ['src/run/a.ts', "import { a } from '../../workers/page.js';"],
    ['workers/a.ts', "import { a } from '../src/broker/broker.js';"],
    ['workers/a.ts', "import { a } from '../src/clock.js';"],
    ['examples/a.ts', "import { a } from '#src/runtime.js';"],
  ];
  for (const [path, text] of WRONG_WAYS) {
    it(`in an import is found: ${path}, ${text}`, () => {
      expect(inspect(path, text).imports.flatMap(importFaults)).not.toEqual([]);
    });
  }

  it('in a public symbol is found', () => {
    const entry = "export { type A, b } from './b.js';\nexport type {\n  C,\n} from './b.js';\n";
    const file = '/** A. */\nexport interface A {}\nexport const b = 1;\n/** C, D. */\nexport type CD = 1;\n';
    const found = undocumented('src/index.ts', (path) => (path === 'src/index.ts' ? entry : file));
    expect(found).toEqual(['b', 'C'].map((name) => `src/b.ts: ${name} has no doc comment`));
  });

  it('in types from a port is none for a task', () => {
    const { imports } = inspect('src/task/a.ts', "import type { a } from '../broker/broker.js';");
    expect(imports.flatMap(importFaults)).toEqual([]);
  });

  it('in a cycle is found; of types it may stay within a folder', () => {
    const edge = (from: string, to: string, isType = false): Import => ({ from, to, isType });
    const ring = (isType: boolean) => [edge('a/1', 'a/2'), edge('a/2', 'a/3'), edge('a/3', 'a/1', isType)];
    expect(cycleFaults(ring(false))).toHaveLength(1);
    expect(cycleFaults(ring(true))).toEqual([]);
    expect(cycleFaults([edge('a/1', 'b/1'), edge('b/1', 'a/1', true)])).toHaveLength(1);
    expect(cycleFaults([edge('a/1', 'a/2'), edge('a/1', 'a/3'), edge('a/2', 'a/3')])).toEqual([]);
  });
});
