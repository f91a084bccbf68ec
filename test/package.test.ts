/**
 * What users get: the packed package, installed into an empty project and used there from plain JavaScript
 * and from TypeScript. Runs on `dist`; asks the registry only for what npm's cache does not have.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const MIB = 1_048_576;
const EXAMPLE = ['01-first', '01-first-tasks'];
const WEB = ['02-web-tasks', '02-web-worker', '02-web-server'];
const OTHERS = ['03-schedule', '04-limits', '05-flow', '06-stream'].flatMap((each) => [
  each,
  `${each}-tasks`,
]);
const EXPECTED = '2178309\n';
const TSC = resolve('node_modules/typescript/bin/tsc');

interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}

/** @returns  Standard output. Rejects with both outputs when the exit code is not 0. */
async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  const isNpmOnWindows = command === 'npm' && process.platform === 'win32';
  const { stdout } = await promisify(execFile)(command, args, {
    cwd,
    timeout: 120_000,
    shell: isNpmOnWindows,
  });
  return stdout;
}

const node = (cwd: string, ...args: readonly string[]) => run(process.execPath, args, cwd);
const script = (cwd: string, text: string) => node(cwd, '--input-type=module', '--eval', text);

describe('the packed package', () => {
  let folder = '';
  let project = '';
  let packed: Packed;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-package-'));
    project = join(folder, 'project');
    await mkdir(project);
    await writeFile(join(project, 'package.json'), '{ "private": true, "type": "module" }');
    const answer = await run(
      'npm',
      ['pack', '--ignore-scripts', '--json', '--pack-destination', folder],
      '.',
    );
    packed = (JSON.parse(answer) as [Packed])[0];
    const options = ['--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'];
    await run('npm', ['install', ...options, join(folder, packed.filename)], project);
  }, 180_000);

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('holds the built code and its papers, nothing else', () => {
    const others = packed.files.filter(({ path }) => !/^dist\/(?:src|workers)\/.+\.(?:js|d\.ts)$/.test(path));
    const papers = ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'];
    expect(others.map(({ path }) => path).sort()).toEqual(papers);
  });

  it('holds what each of its entries leads to', async () => {
    const { exports } = JSON.parse(await readFile('package.json', 'utf8')) as {
      exports: Record<string, unknown>;
    };
    const targets = Object.values(exports).flatMap((entry) =>
      typeof entry === 'string' ? [entry] : Object.values(entry as Record<string, string>),
    );
    const paths = new Set(packed.files.map(({ path }) => `./${path}`));
    expect(targets.filter((target) => !paths.has(target))).toEqual([]);
  });

  it('runs the first example from plain JavaScript', async () => {
    for (const name of EXAMPLE) await cp(resolve('dist/examples', `${name}.js`), join(project, `${name}.js`));
    expect(await node(project, '01-first.js')).toBe(EXPECTED);
  });

  it('compiles the examples from TypeScript, strictly, and runs the first', { timeout: 60_000 }, async () => {
    const typed = join(project, 'typed');
    await mkdir(typed);
    for (const name of [...EXAMPLE, ...WEB, ...OTHERS]) {
      await cp(resolve('examples', `${name}.ts`), join(typed, `${name}.ts`));
    }
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023', 'esnext.disposable'],
      strict: true,
      exactOptionalPropertyTypes: true,
      verbatimModuleSyntax: true,
      rootDir: '.',
      outDir: 'built',
      typeRoots: [resolve('node_modules/@types')],
      types: ['node'],
    };
    await writeFile(join(typed, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
    await node(typed, TSC, '--project', '.');
    expect(await node(typed, 'built/01-first.js')).toBe(EXPECTED);
  });

  it('has a light entry for tasks, which needs no other package', async () => {
    const bare = join(folder, 'bare');
    await cp(join(project, 'node_modules/millrace'), join(bare, 'node_modules/millrace'), {
      recursive: true,
    });
    for (const name of ['lmdb', 'piscina', 'comlink']) {
      await expect(script(bare, `await import('${name}')`)).rejects.toThrow('ERR_MODULE_NOT_FOUND');
    }
    const exports =
      "const { task, setup } = await import('millrace/task'); console.log(typeof task, typeof setup);";
    expect(await script(bare, exports)).toBe('function function\n');
  });

  it('says what it costs', async () => {
    const installed = await sizeOf(join(project, 'node_modules'));
    const task = await importMs('millrace/task');
    const whole = await importMs('millrace');
    console.info(`packed ${mib(packed.size)} MiB, installed with its dependencies ${mib(installed)} MiB`);
    console.info(`import 'millrace/task' ${task.toFixed(0)} ms, 'millrace' ${whole.toFixed(0)} ms`);
    expect(packed.size).toBeLessThan(2 * MIB);
    expect(installed).toBeLessThan(100 * MIB);
  });

  /** The fastest of three: the cost without the noise of the machine. */
  async function importMs(entry: string): Promise<number> {
    const text = `const t = performance.now(); await import('${entry}'); console.log(performance.now() - t);`;
    const times: number[] = [];
    for (let round = 0; round < 3; round++) times.push(Number(await script(project, text)));
    return Math.min(...times);
  }
});

async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return bytes;
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}
