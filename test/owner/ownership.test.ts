/**
 * One owner per folder: what the owner has, and what a second starter is told.
 *
 * Owners are real processes, killed and stopped by real signals. Nothing sleeps: every step waits for a line
 * of output, the exit of a process or the settling of `takeOwnership`.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { StoreCorruptError, StoreUnavailableError } from '#src/errors.js';
import {
  CHILD,
  Child,
  childOwner,
  folder,
  onLinux,
  onUnix,
  ownersFacts,
  refusal,
  root,
  take,
} from './owners.js';

describe('a folder without owner', () => {
  it('is made, private to its user, and owned with epoch 1', async () => {
    const ownership = await take({}, path.join(folder, 'deep', 'er'));
    expect(ownership.epoch).toBe(1);
    expect(fs.statSync(ownership.folder).mode & 0o777).toBe(0o700);
    const socket = path.join(ownership.folder, ownersFacts(ownership.folder).socket);
    expect(fs.statSync(socket).mode & 0o777).toBe(0o600);
  });

  it('names pid, host, since and process start in the epoch file, and leaves no other file', async () => {
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

describe('an owned folder', { timeout: 30_000 }, () => {
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
