/** Clients, and who is at the other end: real processes, each ended as real ones are. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { freshStore, type Member, ownerOf, refusal, start } from './members.js';

const onLinux = process.platform === 'linux';
/** Owners one after the other; each third is killed, and each second joins. */
const ROUNDS = 6;

/** How many tasks of the folder are in which state, of the default queue. */
async function counted(member: Member): Promise<Record<string, number>> {
  const { default: counts = {} } = await member.ask<Record<string, Record<string, number>>>('counts');
  return counts;
}

describe('a client of a runtime', { timeout: 60_000 }, () => {
  it('has tasks run in the other process, and never opens the store', async () => {
    const backend = freshStore();
    const runtime = await start('runtime', { backend });
    const client = await start('client', { backend });
    expect(await client.ask('run', 'sum', [1, 2])).toBe(3);
    const { id } = await client.ask<{ id: string }>('enqueue', 'echo', 'x');
    expect(await client.ask('result', id)).toBe('x');
    expect(await runtime.ask('result', id)).toBe('x');
    expect(ownerOf(backend)).toMatchObject({ pid: runtime.pid, role: 'runtime', epoch: 1 });
    if (onLinux) {
      const maps = (pid: number): string => readFileSync(`/proc/${pid}/maps`, 'utf8');
      expect(maps(runtime.pid)).toContain('data.mdb');
      expect(maps(client.pid)).not.toContain('data.mdb');
    }
  });

  it('that dies takes nothing with it', async () => {
    const backend = freshStore();
    const runtime = await start('runtime', { backend });
    const client = await start('client', { backend });
    const ids = await client.ask<string[]>('flood', 500, 'echo', 0);
    void client.ask('flood', 5_000, 'echo', 0);
    await client.end('SIGKILL');
    expect(await runtime.ask('run', 'sum', [1, 2])).toBe(3);
    for (const [at, id] of ids.entries()) expect(await runtime.ask('result', id)).toBe(at);
  });

  it('has its answers after the flush: what it was told is there when the owner is killed', async () => {
    const backend = freshStore();
    const client = await start('client', { backend });
    let accepted: string[] = [];
    for (let round = 0; round < 5; round++) {
      const runtime = await start('runtime', { backend, autostart: false });
      const flood = client.ask<string[]>('flood', 600, 'echo', 0);
      // In the middle: the first are answered, the last are not.
      await client.ask('enqueue', 'echo', 'first');
      await runtime.end('SIGKILL');
      const answers = await flood;
      expect(answers.filter((answer) => /^ERR/.test(answer))).toEqual(
        answers.filter((answer) => answer === 'ERR_MILLRACE_DISCONNECTED'),
      );
      accepted = [...accepted, ...answers.filter((answer) => !answer.startsWith('ERR'))];
    }
    const runtime = await start('runtime', { backend });
    const results = await Promise.all(accepted.map((id) => client.ask('result', id)));
    expect(results.filter((result) => typeof result !== 'number')).toEqual([]);
    expect((await counted(runtime)).completed).toBeGreaterThanOrEqual(accepted.length + 5);
  });
});

describe('a client without an owner', { timeout: 60_000 }, () => {
  it('takes care of the folder, and what it accepted survives its end', async () => {
    const backend = freshStore();
    const caretaker = await start('client', { backend });
    expect(ownerOf(backend)).toMatchObject({ pid: caretaker.pid, role: 'caretaker' });
    const ids = await caretaker.ask<string[]>('flood', 1_000, 'echo', 0);
    expect(await counted(caretaker)).toMatchObject({ unhandled: 1_000 });
    await caretaker.end('SIGKILL');
    const runtime = await start('runtime', { backend });
    for (const [at, id] of ids.entries()) expect(await runtime.ask('result', id)).toBe(at);
  });

  it('yields to a runtime that starts, with any `ifLocked`, and goes on as its client', async () => {
    for (const ifLocked of ['fail', 'wait', 'join'] as const) {
      const backend = freshStore();
      const client = await start('client', { backend });
      const { id } = await client.ask<{ id: string }>('enqueue', 'sum', [1, 2]);
      const result = client.ask('result', id);
      const runtime = await start('runtime', { backend, ifLocked });
      expect(await result).toBe(3);
      expect(ownerOf(backend)).toMatchObject({ pid: runtime.pid, role: 'runtime' });
      expect(await client.ask('run', 'sum', [2, 3])).toBe(5);
      await runtime.end();
      await client.end();
    }
  });

  it('applies the rules that the last runtime has left', async () => {
    const backend = freshStore();
    const queues = { slow: { priority: 2 } } as const;
    const runtime = await start('runtime', { backend, queues, maxPayloadBytes: 1_000 });
    await runtime.ask('stop');
    const client = await start('client', { backend });
    const { id } = await client.ask<{ id: string }>('enqueue', 'sum', [1], { queue: 'slow' });
    expect(await client.ask('get', id)).toMatchObject({ priority: 2, state: 'ready' });
    const media = await client.ask<{ id: string }>('enqueue', 'media', [1]);
    expect(await client.ask('get', media.id)).toMatchObject({ queue: 'media', priority: 7 });
    const large = client.ask('enqueue', 'echo', 'x'.repeat(2_000));
    expect((await refusal(large)).code).toBe('ERR_MILLRACE_TOO_LARGE');
    expect((await refusal(client.ask('resize', 2))).code).toBe('ERR_MILLRACE_UNSUPPORTED');
  });

  it('is the client of the first one, and takes care after it', async () => {
    const backend = freshStore();
    const first = await start('client', { backend });
    const second = await start('client', { backend });
    const [id = ''] = await second.ask<string[]>('flood', 1, 'echo', 7);
    expect(ownerOf(backend).pid).toBe(first.pid);
    await first.ask('close');
    expect(await second.ask('get', id)).toMatchObject({ name: 'echo' });
    expect(ownerOf(backend)).toMatchObject({ pid: second.pid, role: 'caretaker' });
    await first.end();
    const third = await start('client', { backend });
    await second.end('SIGKILL');
    expect(await third.ask('get', id)).toMatchObject({ name: 'echo' });
    expect(ownerOf(backend).pid).toBe(third.pid);
  });
});

describe('owners that come and go', { timeout: 120_000 }, () => {
  it('lose nothing that they accepted, and settle each once', async () => {
    const backend = freshStore();
    const clients = [await start('client', { backend }), await start('client', { backend })];
    const accepted: string[] = [];
    let uncertain = 0;
    let isOver = false;
    const flood = clients.map(async (client, of) => {
      for (let round = 0; !isOver; round++) {
        for (const answer of await client.ask<string[]>('flood', 100, 'echo', of * 1e6 + round * 100)) {
          if (answer === 'ERR_MILLRACE_DISCONNECTED') uncertain++;
          else accepted.push(answer);
        }
      }
    });
    for (let round = 0; round < ROUNDS; round++) {
      const runtime = await start('runtime', { backend, ifLocked: round % 2 === 0 ? 'fail' : 'join' });
      await runtime.ask('run', 'sum', [1]);
      if (round % 3 === 0) await runtime.end('SIGKILL');
      else await runtime.ask('stop');
      await runtime.end();
    }
    isOver = true;
    await Promise.all(flood);
    const runtime = await start('runtime', { backend });
    await runtime.ask('whenIdle');
    const states = await Promise.all(accepted.map((id) => runtime.ask('state', id)));
    expect(states.filter((state) => state !== 'completed')).toEqual([]);
    const { completed = 0 } = await counted(runtime);
    expect(accepted.length).toBeGreaterThan(100);
    expect(completed).toBeGreaterThanOrEqual(accepted.length + ROUNDS);
    expect(completed).toBeLessThanOrEqual(accepted.length + uncertain + 2 * ROUNDS);
    console.log(
      `${ROUNDS} runtimes, 2 clients: ${accepted.length} accepted, ${uncertain} uncertain, none lost`,
    );
  });
});
