/**
 * One owner per folder: what a second starter is told, and when it becomes the owner.
 *
 * Owners here are real processes (test/fixtures/owner-child.mjs), killed and stopped by real signals. Nothing sleeps:
 * every step waits for a line of output, the exit of a process or the settling of `takeOwnership`.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#src/clock.js';
import { LockedError, StoreCorruptError, StoreUnavailableError } from '#src/errors.js';
import { type Ownership, takeOwnership } from '#src/owner/ownership.js';

const CHILD = path.resolve(import.meta.dirname, '../fixtures/owner-child.mjs');
const onLinux = process.platform === 'linux';
const onUnix = process.platform !== 'win32';

type Reply = Record<string, unknown>;

/** A child process that answers requests one at a time. */
class Child {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(...flags: string[]) {
    this.process = spawn(process.execPath, [CHILD, ...flags], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = readline.createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
    children.push(this);
  }

  get pid(): number {
    return this.process.pid!;
  }

  async ask(request: Reply): Promise<Reply> {
    this.process.stdin!.write(`${JSON.stringify(request)}\n`);
    return this.next();
  }

  async next(): Promise<Reply> {
    return JSON.parse((await this.#lines.next()).value);
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
  }
}

let root: string;
let folder: string;
let children: Child[] = [];
let ownerships: Ownership[] = [];

async function take(
  options: Partial<Parameters<typeof takeOwnership>[1]> = {},
  at = folder,
): Promise<Ownership> {
  const ownership = await takeOwnership(at, { ifLocked: 'fail', ...options });
  ownerships.push(ownership);
  return ownership;
}

async function refusal(attempt: Promise<unknown>): Promise<LockedError> {
  const error = await attempt.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(LockedError);
  return error as LockedError;
}

async function childOwner(at = folder): Promise<Child> {
  const child = new Child();
  expect(await child.ask({ command: 'take', folder: at })).toMatchObject({ epoch: expect.any(Number) });
  return child;
}

const ownersFacts = (at = folder) => {
  const epochs = fs.readdirSync(at).filter((name) => /^epoch-\d+$/.test(name));
  const highest = epochs.sort((a, b) => Number(b.slice(6)) - Number(a.slice(6)))[0]!;
  return JSON.parse(fs.readFileSync(path.join(at, highest), 'utf8'));
};

beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'mr-'));
  folder = path.join(root, 'data');
});

afterEach(async () => {
  for (const child of children) await child.kill();
  for (const ownership of ownerships) await ownership.release();
  children = [];
  ownerships = [];
  fs.chmodSync(root, 0o700);
  fs.rmSync(root, { recursive: true, force: true });
});

describe('a folder without owner', () => {
  it('is made, private to its user, and owned with epoch 1', async () => {
    const ownership = await take({}, path.join(folder, 'deep', 'er'));
    expect(ownership.epoch).toBe(1);
    expect(fs.statSync(ownership.folder).mode & 0o777).toBe(0o700);
    const socket = path.join(ownership.folder, ownersFacts(ownership.folder).socket);
    expect(fs.statSync(socket).mode & 0o777).toBe(0o600);
  });

  it('says pid, host, since and the start of the process in the epoch file, and nothing else is left behind', async () => {
    const before = Date.now();
    await take();
    const facts = ownersFacts();
    expect(facts).toMatchObject({ pid: process.pid, host: os.hostname() });
    expect(facts.since).toBeGreaterThanOrEqual(before);
    if (onLinux) expect(facts.processStart).toMatch(/^[0-9a-f-]{36}\/\d+$/);
    expect(fs.readdirSync(folder).sort()).toEqual(['epoch-1', facts.socket]);
  });

  it('counts its epochs up over releases and removes what older owners left', async () => {
    for (const epoch of [1, 2, 3]) {
      const ownership = await take();
      expect(ownership.epoch).toBe(epoch);
      await ownership.release();
      expect(fs.readdirSync(folder)).toEqual([`epoch-${epoch}`]);
    }
  });

  it('counts on from the highest epoch file, by number and not by name', async () => {
    fs.mkdirSync(folder);
    const facts = { socket: 'epoch-9.00000000.sock', pid: 1, host: 'gone', since: 0 };
    for (const epoch of [9, 10]) fs.writeFileSync(path.join(folder, `epoch-${epoch}`), JSON.stringify(facts));
    expect((await take()).epoch).toBe(11);
    expect(fs.readdirSync(folder)).not.toContain('epoch-9');
  });

  it('is cleared of the sockets and files of contenders that died halfway, and of nothing else', async () => {
    fs.mkdirSync(folder);
    const left = [
      'epoch-1.0123abcd.sock',
      'epoch-1.0123abcd.tmp',
      'epoch-7.0123abcd.sock',
      'epoch-x',
      'data.mdb',
    ];
    for (const name of left) fs.writeFileSync(path.join(folder, name), '');
    await take();
    expect(fs.readdirSync(folder).sort()).toEqual(['epoch-1', ownersFacts().socket, ...left.slice(2)].sort());
  });
});

describe('an owned folder', () => {
  it('refuses a second process, naming pid, host and since of the first', async () => {
    const owner = await childOwner();
    const error = await refusal(take());
    expect(error).toMatchObject({ pid: owner.pid, host: os.hostname(), since: ownersFacts().since });
    expect(error.message).toContain(folder);
  });

  it('refuses the process that owns it already, naming its own pid', async () => {
    await take();
    expect((await refusal(take())).pid).toBe(process.pid);
  });

  it('is the same folder under every spelling', async () => {
    await take();
    fs.symlinkSync(folder, path.join(root, 'link'));
    await refusal(take({}, path.join(root, 'link')));
    await refusal(take({}, `${folder}/../data/`));
    await refusal(take({}, path.relative(process.cwd(), folder)));
  });

  it('goes with its owner when it is renamed', async () => {
    const owner = await childOwner();
    fs.renameSync(folder, `${folder}-moved`);
    expect((await refusal(take({}, `${folder}-moved`))).pid).toBe(owner.pid);
  });

  it.runIf(onUnix)(
    'is not free while its owner is stopped, even when its queue of connections is full',
    async () => {
      const owner = await childOwner();
      owner.process.kill('SIGSTOP');
      expect((await refusal(take())).pid).toBe(owner.pid);
      const socket = path.join(folder, ownersFacts().socket);
      const crowd: net.Socket[] = [];
      try {
        for (let full = false; !full && crowd.length < 6_000; ) {
          const connection = net.connect(socket);
          crowd.push(connection);
          connection.on('error', () => {});
          full = await once(connection, 'connect').then(
            () => false,
            (error) => error.code === 'EAGAIN' || error.code === 'ECONNREFUSED',
          );
        }
        expect((await refusal(take())).pid).toBe(owner.pid);
        const waiting = take({ ifLocked: 'wait' });
        await owner.kill();
        expect((await waiting).epoch).toBe(2);
      } finally {
        for (const connection of crowd) connection.destroy();
      }
    },
  );

  it('belongs to one of the workers of a cluster', async () => {
    const primary = new Child('--cluster');
    const replies = [await primary.ask({ command: 'take', folder }), await primary.next()];
    const winner = replies.find((reply) => reply.epoch === 1);
    expect(replies.find((reply) => reply !== winner)).toMatchObject({
      code: 'ERR_MILLRACE_LOCKED',
      pid: winner?.by,
    });
    primary.process.stdin!.end();
    await once(primary.process, 'exit');
  });
});

describe('taking over', () => {
  it('succeeds at once when the owner was killed', async () => {
    const owner = await childOwner();
    await owner.kill();
    expect((await take()).epoch).toBe(2);
    expect(fs.readdirSync(folder).sort()).toEqual(['epoch-2', ownersFacts().socket]);
  });

  it('comes to who waits within 100 ms of the death of the owner', async () => {
    const delays: number[] = [];
    for (let round = 0; round < 5; round++) {
      const owner = await childOwner();
      const waiting = take({ ifLocked: 'wait' });
      await connectionOf(owner);
      const gone = once(owner.process, 'exit');
      const killedAt = performance.now();
      owner.process.kill('SIGKILL');
      const ownership = await waiting;
      delays.push(performance.now() - killedAt);
      await gone;
      await ownership.release();
    }
    console.log(`takeover after SIGKILL: ${delays.map((ms) => ms.toFixed(1)).join(', ')} ms`);
    expect(Math.max(...delays)).toBeLessThan(100);
  });

  it('comes to who waits when the owner releases', async () => {
    const first = await take();
    const waiting = [take({ ifLocked: 'wait' }), take({ ifLocked: 'wait' })];
    await first.release();
    const second = await Promise.race(waiting);
    expect(second.epoch).toBe(2);
    await second.release();
    expect((await Promise.all(waiting)).map(({ epoch }) => epoch).sort()).toEqual([2, 3]);
  });

  it('outlasts an owner that closes every connection, and does not spin on it', async () => {
    const owner = await take();
    let connections = 0;
    const tenth = new Promise<void>((resolve) => {
      owner.onConnection((socket) => {
        socket.destroy();
        connections += 1;
        if (connections === 10) resolve();
      });
    });
    const startedAt = performance.now();
    const waiting = take({ ifLocked: 'wait' });
    await tenth;
    expect(performance.now() - startedAt).toBeGreaterThan(100);
    await owner.release();
    expect((await waiting).epoch).toBe(2);
  });

  it('ends with LockedError after waitMs', async () => {
    await take();
    const clock = new ManualClock();
    const armed = new Promise<void>((resolve) => {
      const { arm } = clock;
      clock.arm = (...args) => {
        resolve();
        return arm.apply(clock, args);
      };
    });
    const waiting = refusal(take({ ifLocked: 'wait', waitMs: 5_000, clock }));
    await armed;
    clock.advance(5_000);
    expect((await waiting).pid).toBe(process.pid);
    await refusal(take({ ifLocked: 'wait', waitMs: 0 }));
  });

  it('ends with the reason of the signal', async () => {
    await take();
    const controller = new AbortController();
    const waiting = take({ ifLocked: 'wait', signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await expect(take({ ifLocked: 'wait', signal: AbortSignal.abort('at once') })).rejects.toBe('at once');
  });
});

describe('a race for a folder', () => {
  it('whose owner is dead has exactly one winner of two processes, 50 times', async () => {
    const folders = Array.from({ length: 50 }, (_, index) => path.join(root, `race-${index}`));
    const dead = new Child();
    expect((await dead.ask({ command: 'hold', folders })).epochs).toEqual(folders.map(() => 1));
    await dead.kill();
    const racers = [new Child(), new Child()];
    await Promise.all(racers.map((racer) => racer.ask({ command: 'release' })));
    for (const raced of folders) {
      const start = { command: 'take', folder: raced, atMs: Date.now() + 8 };
      const replies = await Promise.all(racers.map((racer) => racer.ask(start)));
      const winner = replies.find((reply) => reply.epoch === 2);
      const loser = replies.find((reply) => reply !== winner);
      expect(winner, JSON.stringify(replies)).toBeDefined();
      expect(loser).toMatchObject({ code: 'ERR_MILLRACE_LOCKED', pid: winner?.by });
      expect(fs.readdirSync(raced).sort()).toEqual(['epoch-2', ownersFacts(raced).socket]);
    }
  });

  it('that is new has exactly one winner of twenty in one process, and the epochs of waiters never repeat', async () => {
    const attempts = Array.from({ length: 20 }, () => takeOwnership(folder, { ifLocked: 'fail' }));
    const won = (await Promise.allSettled(attempts)).filter(({ status }) => status === 'fulfilled');
    expect(won).toHaveLength(1);
    ownerships.push((won[0] as PromiseFulfilledResult<Ownership>).value);
    let owners = 0;
    const epochs = Array.from({ length: 10 }, async () => {
      const ownership = await take({ ifLocked: 'wait' });
      owners += 1;
      expect(owners).toBe(1);
      await Promise.resolve();
      owners -= 1;
      await ownership.release();
      return ownership.epoch;
    });
    await ownerships[0]!.release();
    expect(new Set(await Promise.all(epochs)).size).toBe(10);
  });
});

describe('an ownership', () => {
  it('keeps connections waiting until there is a handler, with what they sent', async () => {
    const owner = await take();
    const client = net.connect(path.join(folder, ownersFacts().socket));
    await once(client, 'connect');
    client.write('early');
    const served = new Promise<string>((resolve) => {
      owner.onConnection((socket) => socket.on('data', (chunk) => resolve(String(chunk))));
    });
    expect(await served).toBe('early');
    const closed = once(client, 'close');
    await owner.release();
    await closed;
  });

  it('is released once however often it is asked, and can be taken again by the same process', async () => {
    const owner = await take();
    await Promise.all([owner.release(), owner.release()]);
    expect((await take()).epoch).toBe(2);
  });

  it('does not keep its process alive', async () => {
    const code = `
      const { takeOwnership } = await import('#src/owner/ownership.js');
      const owner = await takeOwnership(${JSON.stringify(folder)}, { ifLocked: 'fail' });
      console.log(owner.epoch);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: path.dirname(CHILD) });
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect((await take()).epoch).toBe(2);
  });
});

describe('a folder that cannot be owned', () => {
  it('is refused with StoreUnavailableError when it is a file, or lies in one', async () => {
    fs.writeFileSync(folder, '');
    await expect(take()).rejects.toBeInstanceOf(StoreUnavailableError);
    await expect(take({}, path.join(folder, 'data'))).rejects.toBeInstanceOf(StoreUnavailableError);
  });

  it.runIf(onUnix && process.getuid?.() !== 0)(
    'is refused when it may not be made or written to',
    async () => {
      fs.chmodSync(root, 0o500);
      await expect(take()).rejects.toBeInstanceOf(StoreUnavailableError);
      await expect(take({}, root)).rejects.toBeInstanceOf(StoreUnavailableError);
    },
  );

  it.runIf(onLinux)('is refused where nothing can be made at all', async () => {
    await expect(take({}, '/proc/millrace')).rejects.toBeInstanceOf(StoreUnavailableError);
    await expect(take({}, '/proc/self')).rejects.toBeInstanceOf(StoreUnavailableError);
  });

  it('is refused with StoreCorruptError when its epoch file does not say who the owner is', async () => {
    fs.mkdirSync(folder);
    for (const text of ['', 'null', '{}', '{"socket":"../../x","pid":1,"host":"h","since":0}']) {
      fs.writeFileSync(path.join(folder, 'epoch-3'), text);
      await expect(take()).rejects.toBeInstanceOf(StoreCorruptError);
    }
  });

  it('is refused with the argument named when path or options are of the wrong kind', async () => {
    await expect(take({}, '')).rejects.toMatchObject({ argument: 'folder' });
    await expect(take({ ifLocked: 'join' as 'fail' })).rejects.toMatchObject({
      argument: 'options.ifLocked',
    });
    await expect(take({ waitMs: -1 })).rejects.toMatchObject({ argument: 'options.waitMs' });
  });
});

describe.runIf(onLinux)('a folder with a path of 150 characters and more', () => {
  it('is owned, refused, taken over and released like any other', async () => {
    const long = path.join(root, 'x'.repeat(60), 'y'.repeat(60), 'z'.repeat(60));
    const openBefore = fs.readdirSync('/proc/self/fd').length;
    const owner = await childOwner(long);
    expect((await refusal(take({}, long))).pid).toBe(owner.pid);
    const waiting = take({ ifLocked: 'wait' }, long);
    await owner.kill();
    const ownership = await waiting;
    expect(fs.readdirSync(long).sort()).toEqual(['epoch-2', ownersFacts(long).socket]);
    await ownership.release();
    expect(fs.readdirSync(long)).toEqual(['epoch-2']);
    expect(fs.readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(openBefore);
  });
});

/** Resolves when the process has the connection of a waiter: a reply shows that its event loop has turned since. */
async function connectionOf(owner: Child): Promise<void> {
  await owner.ask({ command: 'release' });
}
