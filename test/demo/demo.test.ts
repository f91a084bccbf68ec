/**
 * The demo as a user runs it: real processes on a small folder, ended at moments that their own output
 * names. What was done is read from the store, which stays after each run.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openRuntime, type TaskInfo } from 'millrace';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

vi.setConfig({ testTimeout: 60_000 });

const DEMO = resolve('dist/examples/demo.js');
const TASKS = resolve('dist/examples/demo/tasks.js');
const isRoot = process.getuid?.() === 0;
const isLinux = process.platform === 'linux';
const hasPipes = process.platform !== 'win32';
/** Minutes of work, and no space on disk. */
const ENDLESS_BYTES = 100_000_000_000;
/** `npm run test:long` kills it until there is nothing left to do. */
const MANY_KILLS = Number(process.env.KILLS ?? 4);
/** As in the demo. */
const GRACE_MS = 3_000;

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}
type Result = { path: string; bytes: number; compressedBytes: number; sha256: string; thread: number };

let root: string;
let folder: string;
let data: string;
let endless: string;
/** The regular, readable files, and what is expected of each. */
const files = new Map<string, { bytes: number; sha256: string }>();
const unreadable: string[] = [];
const children = new Set<ChildProcess>();

beforeAll(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-demo-')));
  folder = join(root, 'files');
  endless = join(folder, 'zz endless');
  for (let number = 0; number < 140; number++) add(`${number % 7}/${number % 3}/file ${number}.txt`, 60_000);
  for (const name of ['ünï çødé/файл.txt', '名前/🌾.txt', "it's; $(odd)\n.txt", '-rf', '.hidden'])
    add(name, 500);
  add('empty', 0);
  add('large', 3_000_000);
  symlinkSync(join(folder, 'large'), join(folder, 'link to a file'));
  symlinkSync(root, join(folder, 'link to a folder'));
  symlinkSync(join(folder, 'nowhere'), join(folder, 'broken link'));
  if (hasPipes) {
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    unreadable.push(join(folder, 'pipe'));
  }
  if (!isRoot) {
    for (const name of ['forbidden', 'forbidden folder']) unreadable.push(join(folder, name));
    writeFileSync(join(folder, 'forbidden'), 'secret', { mode: 0 });
    mkdirSync(join(folder, 'forbidden folder'), { mode: 0 });
  }
});

afterAll(() => {
  if (!isRoot) chmodSync(join(folder, 'forbidden folder'), 0o700);
  rmSync(root, { recursive: true, force: true });
});

beforeEach(() => {
  data = mkdtempSync(join(root, 'data-'));
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  rmSync(endless, { force: true });
});

function add(name: string, bytes: number): void {
  const path = join(folder, name);
  const lines = Array.from(
    { length: bytes / 8 },
    (_, at) => `${(at * 7_919 * (files.size + 1)) % 9_999_991}\n`,
  );
  const content = Buffer.from(lines.join('')).subarray(0, bytes);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
  files.set(path, { bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') });
}

/** Runs the demo; `onError` gets each piece of its stderr, with the process to act on. */
function demo(
  args: readonly string[],
  onError = (_text: string, _child: ChildProcess): void => {},
): Promise<Ended> {
  const child = spawn(process.execPath, [DEMO, ...args, '--data', data], { cwd: root });
  children.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    onError(stderr, child);
  });
  return new Promise((done) => {
    child.on('close', (code, signal) => {
      children.delete(child);
      done({ code, signal, stdout, stderr });
    });
  });
}

function endAt(line: RegExp, signal: NodeJS.Signals): (text: string, child: ChildProcess) => void {
  let isSent = false;
  return (text, child) => {
    if (isSent || !line.test(text)) return;
    isSent = true;
    child.kill(signal);
  };
}

/** Adds a file without end, and acts while it is read; it is the last in the folder. */
function whileEndless(act: (child: ChildProcess) => void): (text: string, child: ChildProcess) => void {
  writeFileSync(endless, '');
  truncateSync(endless, ENDLESS_BYTES);
  let looking: NodeJS.Timeout | undefined;
  return (_text, child) => {
    looking ??= setInterval(() => {
      if (child.exitCode === null && !hasOpen(child.pid!, endless)) return;
      clearInterval(looking);
      act(child);
    }, 10);
  };
}

function hasOpen(pid: number, path: string): boolean {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).some((name) => {
    try {
      return readlinkSync(join(folder, name)) === path;
    } catch {
      return false; // Closed meanwhile.
    }
  });
}

/** Everything in the store, which nobody owns now. */
async function stored(): Promise<TaskInfo[]> {
  const backend = join(data, 'store');
  if (!existsSync(backend)) return [];
  await using runtime = await openRuntime({ backend, tasks: TASKS, threads: 1, autostart: false });
  const tasks: TaskInfo[] = [];
  let after: string | undefined;
  do {
    const page = await runtime.list({}, { limit: 1_000, ...(after === undefined ? {} : { after }) });
    tasks.push(...page.tasks);
    after = page.after;
  } while (after !== undefined);
  return tasks;
}

async function completed(): Promise<Map<string, TaskInfo>> {
  const tasks = (await stored()).filter(({ state }) => state === 'completed');
  const byPath = new Map(tasks.map((task) => [(task.result as Result).path, task]));
  expect(byPath.size, 'no file is completed twice').toBe(tasks.length);
  return byPath;
}

/** The values of the table, by their labels. */
function tableOf({ stdout }: Ended): Record<string, string> {
  const rows = stdout.split('\n').map((line) => /^([^:]+):\s+(.*)$/.exec(line));
  return Object.fromEntries(rows.flatMap((row) => (row === null ? [] : [[row[1]!, row[2]!]])));
}

async function expectAllDone(ended: Ended): Promise<void> {
  expect(ended).toMatchObject({ code: 0, signal: null });
  const [one = '', two = '', more = ''] = ['1', '2', '3+'].map(
    (label) => tableOf(ended)[`attempts ${label}`],
  );
  expect(Number(one) + Number(two) + Number(more)).toBe(files.size);
  expect(tableOf(ended)).toMatchObject({
    files: String(files.size),
    'dead letters': String(unreadable.length),
    'each file exactly once': 'yes',
  });
  for (const path of unreadable) expect(ended.stdout).toContain(`  ${path}: `);
  const done = await completed();
  expect([...done.keys()].sort()).toEqual([...files.keys()].sort());
  for (const [path, { result }] of done) expect(result).toMatchObject(files.get(path)!);
}

describe('the demo', () => {
  it('settles every file once, on all its threads, and lists what could not be read', async () => {
    const ended = await demo([folder, '--threads', '2']);
    await expectAllDone(ended);
    const threads = Object.keys(tableOf(ended)).filter((label) => label.startsWith('thread '));
    expect(threads).toHaveLength(2);
    expect(ended.stderr).toMatch(/^100 % /m);
    expect(ended.stderr).toContain('The same command begins anew');
    if (hasPipes) expect(ended.stdout).toContain('pipe: not a regular file');
    if (!isRoot) expect(ended.stdout).toMatch(/forbidden: EACCES.*\n.*forbidden folder: EACCES/);
  });

  it('begins anew after a complete run, also with another folder', async () => {
    await demo([join(folder, '1')]);
    expect(tableOf(await demo([join(folder, '1')]))['this run']).toMatch('20 of 20 tasks');
    const other = tableOf(await demo([join(folder, '0')]));
    expect(other).toMatchObject({ files: '20', 'each file exactly once': 'yes' });
  });

  it('leaves its own data folder out', async () => {
    data = join(folder, '0', 'data');
    const ended = await demo([join(folder, '0')]);
    rmSync(data, { recursive: true });
    expect(tableOf(ended)).toMatchObject({ files: '20', 'dead letters': '0' });
  });
});

describe('killed at any moment, the demo', () => {
  const MOMENTS = [/files, /, /^ *[234]\d %/m, /^ *[567]\d %/m];
  for (const line of MOMENTS) {
    it(`finishes the rest and repeats nothing: ${line}`, async () => {
      const killed = await demo([folder], endAt(line, 'SIGKILL'));
      expect(killed.signal).toBe('SIGKILL');
      const before = await completed();
      const ended = await demo([folder]);
      await expectAllDone(ended);
      const after = await completed();
      for (const [path, { id, attempts, settledAt }] of before) {
        expect(after.get(path)).toMatchObject({ id, attempts, settledAt });
      }
      const left = files.size + unreadable.length - before.size;
      expect(Number.parseInt(tableOf(ended)['this run']!, 10)).toBeLessThanOrEqual(left);
    });
  }

  it('finishes after many kills', async () => {
    let last = 0;
    for (let count = 0; count < MANY_KILLS && last < files.size; count++) {
      // The first line about progress: something new was completed.
      await demo([folder], endAt(/^ *\d+ %/m, 'SIGKILL'));
      const now = (await completed()).size;
      expect(now).toBeGreaterThanOrEqual(last);
      if (existsSync(join(data, 'job.json')) && readFileSync(join(data, 'job.json'), 'utf8').includes('true'))
        break;
      last = now;
    }
    await expectAllDone(await demo([folder]));
  });
});

describe('on Ctrl-C, the demo', () => {
  it('stops with 130, says how to go on, and goes on', async () => {
    const stopped = await demo([folder], endAt(/^ *[12]\d %/m, 'SIGINT'));
    expect(stopped).toMatchObject({ code: 130, stdout: '' });
    expect(stopped.stderr).toContain(`npm run demo -- ${folder} --data ${data}`);
    const before = await completed();
    expect(before.size).toBeGreaterThan(0);
    expect(before.size).toBeLessThan(files.size);
    await expectAllDone(await demo([folder]));
  });

  it.runIf(isLinux)('aborts what runs too long, uncharged; when that is gone, it says so', async () => {
    const interrupt = whileEndless((child) => child.kill('SIGINT'));
    expect(await demo([folder], interrupt)).toMatchObject({ code: 130 });
    const left = (await stored()).find(({ payload }) => (payload as Result | undefined)?.path === endless);
    expect(left).toMatchObject({ state: 'ready', attempts: [], failures: 0, crashes: 0 });
    rmSync(endless);
    const ended = await demo([folder]);
    expect(tableOf(ended)).toMatchObject({ files: String(files.size), 'each file exactly once': 'yes' });
    expect(ended.stdout).toContain(`  ${endless}: ENOENT`);
  });

  it.runIf(isLinux)('ends at once when it is pressed again', async () => {
    let pressedAt = 0;
    const press = whileEndless((child) => {
      pressedAt = performance.now();
      const pressing = setInterval(() => child.kill('SIGINT'), 50);
      child.on('exit', () => clearInterval(pressing));
    });
    const ended = await demo([folder], press);
    expect(performance.now() - pressedAt).toBeLessThan(GRACE_MS);
    expect(ended.code).toBe(130);
  });
});

describe('with an unfinished run, the demo', () => {
  it('refuses another folder, and says so', async () => {
    await demo([folder], endAt(/files, /, 'SIGKILL'));
    const refused = await demo([root]);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain(`unfinished run over ${folder}`);
    await expectAllDone(await demo([folder]));
  });

  it.runIf(isLinux)('refuses to run beside itself', async () => {
    let second: Promise<Ended> | undefined;
    const runSecond = whileEndless((first) => {
      second = demo([folder]).finally(() => first.kill('SIGKILL'));
    });
    await demo([folder], runSecond);
    expect(await second).toMatchObject({ code: 1, stdout: '' });
    expect((await second)!.stderr).toMatch(/^demo: .*\b\d+\b/);
  });

  it('does not touch a store that is not its own', async () => {
    mkdirSync(join(data, 'store'));
    expect((await demo([folder])).stderr).toContain('is not a store of this demo');
    expect(existsSync(join(data, 'store'))).toBe(true);
  });
});

describe('a command that makes no sense', () => {
  for (const args of [
    ['--thread', '2'],
    ['--threads', '0'],
    ['--threads', 'two'],
    ['one', 'two'],
    ['nowhere'],
  ]) {
    it(`is refused: ${args.join(' ')}`, async () => {
      const ended = await demo(args);
      expect(ended).toMatchObject({ code: 1, stdout: '' });
      expect(ended.stderr).toMatch(/^demo: [^\n]+\n(?:Usage[^\n]+\n)?$/);
      expect(existsSync(join(data, 'job.json'))).toBe(false);
    });
  }
});
