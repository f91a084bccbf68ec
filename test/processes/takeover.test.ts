/**
 * One owner per folder, whoever the others are: workers of a cluster, other containers, deploys that overlap,
 * processes that were stopped and not killed.
 */
import { spawnSync } from 'node:child_process';
import { setTimeout as elapsed } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { fixture } from '../runtime/harness.js';
import { freshStore, Member, ownerOf, refusal, start } from './members.js';

/** New namespaces for pids and network, as a container has; needs privileges. */
const CONTAINER = ['unshare', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
const hasNamespaces = spawnSync(CONTAINER[0]!, [...CONTAINER.slice(1), 'true']).status === 0;
/** Longer than anybody pauses before the next look at the owner. */
const STOPPED_MS = 3_000;
const MOST_ROUNDS = 10;
if (!hasNamespaces) console.warn('SKIPPED: two containers on one folder (unshare is not permitted here)');

describe('two workers of a cluster that join', { timeout: 60_000 }, () => {
  it('are one owner and its client, and the client follows the owner', async () => {
    const backend = freshStore();
    const both = new Member('runtime', { backend, ifLocked: 'join' }, { cluster: 2 });
    const pids = (await both.opened) as number[];
    const owner = ownerOf(backend);
    expect(pids).toContain(owner.pid);
    expect(owner.epoch).toBe(1);
    const first = pids.indexOf(owner.pid);
    for (const worker of [0, 1])
      expect(await both.askWorker(worker, 'run', 'sum', [worker, 1])).toBe(worker + 1);
    const { id } = await both.askWorker<{ id: string }>(1 - first, 'enqueue', 'echo', 'kept', {
      delayMs: 60_000,
    });
    await both.killWorker(first);
    expect(await both.askWorker(1 - first, 'run', 'sum', [2, 3])).toBe(5);
    expect(await both.askWorker(1 - first, 'get', id)).toMatchObject({ name: 'echo', state: 'scheduled' });
    expect(ownerOf(backend)).toMatchObject({ pid: pids[1 - first], epoch: 2 });
  });
});

describe.runIf(hasNamespaces)('two containers on one folder', { timeout: 60_000 }, () => {
  it('see each other: one is refused, waits or joins, and takes over when the other is gone', async () => {
    const backend = freshStore();
    const first = await start('runtime', { backend }, { under: CONTAINER });
    expect(ownerOf(backend).pid).toBe(1);
    const second = new Member('runtime', { backend }, { under: CONTAINER });
    const { code, message } = await refusal(second.opened);
    expect(code).toBe('ERR_MILLRACE_LOCKED');
    expect(message).toContain('process 1 on');
    const joined = await start('runtime', { backend, ifLocked: 'join' }, { under: CONTAINER });
    const client = await start('client', { backend }, { under: CONTAINER });
    expect(await client.ask('run', 'sum', [1, 2])).toBe(3);
    expect(await joined.ask('run', 'sum', [2, 2])).toBe(4);
    const waiting = new Member('runtime', { backend, ifLocked: 'wait' }, { under: CONTAINER });
    await first.end('SIGKILL');
    await client.ask('counts'); // by whoever is next
    expect(await client.ask('run', 'sum', [3, 2])).toBe(5);
    await Promise.all([joined.end('SIGKILL'), waiting.end('SIGKILL')]);
    await client.ask('counts');
    const last = await start('runtime', { backend, ifLocked: 'wait' }, { under: CONTAINER });
    expect(await last.ask('run', 'sum', [1, 1])).toBe(2);
    expect(await client.ask('run', 'sum', [3, 3])).toBe(6);
    expect(ownerOf(backend)).toMatchObject({ pid: 1, role: 'runtime' });
  });
});

describe('a folder with a path of 150 characters', { timeout: 60_000 }, () => {
  it('has one owner, and clients', async () => {
    const backend = freshStore('x'.repeat(150));
    const runtime = await start('runtime', { backend });
    expect((await refusal(new Member('runtime', { backend }).opened)).code).toBe('ERR_MILLRACE_LOCKED');
    const client = await start('client', { backend });
    expect(await client.ask('run', 'sum', [1, 2])).toBe(3);
    const joined = await start('runtime', { backend, ifLocked: 'join' });
    await runtime.end('SIGKILL');
    await client.ask('counts'); // by whoever is next
    expect(await client.ask('run', 'sum', [1, 3])).toBe(4);
    expect(ownerOf(backend).pid).toBe(joined.pid);
  });
});

describe('an owner that is stopped (SIGSTOP)', { timeout: 60_000 }, () => {
  it('stays the owner, and answers everybody afterwards', async () => {
    const backend = freshStore();
    const owner = await start('runtime', { backend });
    const client = await start('client', { backend });
    const joined = await start('runtime', { backend, ifLocked: 'join' });
    expect(await client.ask('run', 'sum', [1, 1])).toBe(2);
    owner.signal('SIGSTOP');
    const answers = [client.ask('run', 'sum', [1, 2]), joined.ask('run', 'sum', [2, 2])];
    const waiting = new Member('runtime', { backend, ifLocked: 'wait' });
    const late = new Member('client', { backend });
    let isOver = false;
    void Promise.race([...answers, waiting.opened, late.opened]).then(() => {
      isOver = true;
    });
    await elapsed(STOPPED_MS); // this is the time that it is all about
    expect((await refusal(new Member('runtime', { backend }).opened)).code).toBe('ERR_MILLRACE_LOCKED');
    expect(isOver).toBe(false);
    expect(ownerOf(backend)).toMatchObject({ pid: owner.pid, epoch: 1 });
    owner.signal('SIGCONT');
    expect(await Promise.all(answers)).toEqual([3, 4]);
    await late.opened;
    expect(await late.ask('run', 'sum', [2, 3])).toBe(5);
    expect(ownerOf(backend)).toMatchObject({ pid: owner.pid, epoch: 1 });
  });
});

describe('the death of an owner', { timeout: 60_000 }, () => {
  it.each(['wait', 'join'] as const)('lets the next one (%s) work within 100 ms', async (ifLocked) => {
    const delays: number[] = [];
    // On a busy machine single rounds are slow.
    for (let round = 0; round < MOST_ROUNDS && (round < 2 || Math.min(...delays) >= 100); round++) {
      const backend = freshStore();
      const owner = await start('runtime', { backend, autostart: false });
      const client = await start('client', { backend });
      const next = new Member('runtime', { backend, ifLocked, tasks: fixture('telling-tasks').href });
      // Its threads are there when their module has been imported: it says so even while it waits.
      await next.said('imported');
      if (ifLocked === 'join') await next.opened;
      const { id } = await client.ask<{ id: string }>('enqueue', 'sum', [round, 2]);
      const result = client.ask('result', id);
      const killedAt = performance.now();
      await Promise.all([owner.end('SIGKILL'), result]);
      delays.push(performance.now() - killedAt);
      expect(await result).toBe(round + 2);
      expect(ownerOf(backend)).toMatchObject({ pid: next.pid, role: 'runtime' });
      await Promise.all([client.end('SIGKILL'), next.end('SIGKILL')]);
    }
    console.log(`${ifLocked}: ${delays.map((ms) => ms.toFixed(0)).join(', ')} ms from SIGKILL to a result`);
    expect(Math.min(...delays)).toBeLessThan(100);
  });
});

describe('a deploy', { timeout: 60_000 }, () => {
  it.each(['wait', 'join'] as const)(
    'whose new process (%s) is there before the old one ends',
    async (ifLocked) => {
      const backend = freshStore();
      const old = await start('runtime', { backend });
      const client = await start('client', { backend });
      const ids = await client.ask<string[]>('flood', 2_000, 'ordinal', 0);
      const next = new Member('runtime', { backend, ifLocked });
      if (ifLocked === 'join') await next.opened;
      const report = await old.ask<{ lostThreads: number }>('stop', { graceMs: 1_000 });
      expect(report.lostThreads).toBe(0);
      await next.opened;
      expect(await client.ask('run', 'sum', [1, 2])).toBe(3);
      expect(ownerOf(backend).pid).toBe(next.pid);
      const results = await Promise.all(ids.map((id) => client.ask('result', id)));
      expect(results.filter((result) => typeof result !== 'number')).toEqual([]);
      await old.end();
    },
  );
});
