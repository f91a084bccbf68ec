/**
 * The folder of large payloads and results: a file is there for as long as some task needs a byte of it, a
 * damaged one hurts its own tasks only, and there is a bound on all of them.
 */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Blobs } from '#src/broker/blobs.js';
import type { Backend, Claim, Settlement } from '#src/broker/broker.js';
import { openBlobFiles } from '#src/broker/lmdb/blob-files.js';
import { openLmdb } from '#src/broker/lmdb/lmdb.js';
import { lmdbTables } from '#src/broker/lmdb/lmdb-tables.js';
import { decodeBlobRef } from '#src/task/blob-ref.js';
import { ThreadBlobs } from '#workers/blobs.js';

const MIB = 1_048_576;
const KEEP_MS = 10_000;
const CORRUPT = { code: 'ERR_MILLRACE_STORE_CORRUPT' };

let folder: string;
let now: number;
let damages: Error[];
let backend: Backend;

async function open(maxBytes = Number.POSITIVE_INFINITY, maxPendingBytes = 64 * MIB): Promise<void> {
  backend = await openLmdb({
    ...{ folder, ifLocked: 'fail', now: () => now, space: { maxBytes, minFreeBytes: 0 } },
    limits: { maxPendingEnqueues: 1_000, maxPendingBytes },
    onCorrupt: (error) => damages.push(error),
  });
}
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-blobs-'));
  now = 1_000_000;
  damages = [];
  await open();
});
afterEach(async () => {
  await backend.close();
  rmSync(folder, { recursive: true, force: true });
});

function blobs(): Blobs {
  return backend.blobs!;
}

function files(): string[] {
  return readdirSync(join(folder, 'blobs')).sort();
}

/** Removal is not waited for by anybody. */
async function untilFiles(count: number): Promise<void> {
  while (files().length !== count) await setImmediate();
}

function body(size: number, fill = 1): Buffer {
  return Buffer.alloc(size, fill);
}

/** Writes payloads and enqueues them as one batch. */
async function enqueue(...sizes: readonly number[]): Promise<string[]> {
  const tasks = [];
  for (const size of sizes) {
    const reference = await blobs().write(body(size));
    tasks.push({ name: 'task', queue: 'default', level: 5, body: reference });
  }
  const { tickets, accepted } = backend.broker.enqueue(tasks);
  await accepted;
  return tickets.map(({ id }) => id);
}

async function take(): Promise<readonly Claim[]> {
  return backend.broker.claim(() => 'take', 100);
}

function ended(claim: Claim, kind: 'completed' | 'dead', result: Uint8Array = body(1)): Settlement {
  const attempt = { attempt: 1, startedAt: 1, runMs: 1, outcome: 'completed' } as const;
  const final = { claim, settledAt: now, expiresAt: now + KEEP_MS, tally: claim.tally, attempt };
  return kind === 'dead' ? { ...final, kind, reason: 'why' } : { ...final, kind, result };
}

async function prune(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    now += 100_000;
    await backend.broker.prune(now, 1_000);
    await backend.broker.settle([]);
  }
}

function thread(): { readonly results: ThreadBlobs; readonly end: () => void } {
  const writer = blobs().openWriter();
  const setup = { folder: blobs().folder, leastBytes: 16_384, writer };
  const results = new ThreadBlobs(setup, (before) => blobs().closeWriter(writer, before));
  return { results, end: () => blobs().closeWriter(writer) };
}

/** Stages 600 tasks with payloads in files: two full segments, one that is open, and 60 delayed ones. */
async function stage() {
  const staged = backend.broker.stage();
  const tasks = [];
  for (let at = 0; at < 600; at++) {
    const reference = await blobs().write(body(20_000, at % 256));
    const runAt = at % 10 === 9 ? { runAt: now + 1_000 } : {};
    tasks.push({ name: 'task', queue: 'default', level: 5, body: reference, ...runAt });
  }
  await staged.add(tasks);
  await backend.broker.settle([]);
  expect(files().length).toBeGreaterThan(8);
  return staged;
}

describe('the files of a staged batch', () => {
  it('stay with its tasks when it is accepted', async () => {
    const tickets = await (await stage()).accept();
    await backend.close();
    await open();
    const { id } = tickets.ticket(303);
    assert.ok(body(20_000, 303 % 256).equals((await backend.inspect!.get(id))!.body!));
    const claims = await backend.broker.claim(() => 'take', 1_000);
    expect(claims).toHaveLength(540);
    await backend.broker.settle(claims.map((claim) => ended(claim, 'completed')));
    now += 2_000;
    await backend.broker.promote(now, 1_000);
    await backend.broker.settle((await take()).map((claim) => ended(claim, 'completed')));
    // What had a record keeps its payload until it is pruned.
    await prune();
    await untilFiles(0);
  });

  it('go when it is abandoned, stored or not', async () => {
    const staged = await stage();
    await staged.abandon();
    // But the one that the next payload goes into.
    await untilFiles(1);
    await backend.close();
    await untilFiles(0);
    await open();
  });

  it('go when the store is opened again in the middle of it', async () => {
    await stage();
    await backend.close();
    await open();
    await untilFiles(0);
    expect(damages).toEqual([]);
  });
});

describe('the file of a payload', () => {
  it('goes when its task has completed', async () => {
    await enqueue(2 * MIB);
    expect(files()).toHaveLength(1);
    await backend.broker.settle((await take()).map((claim) => ended(claim, 'completed')));
    await untilFiles(0);
  });

  it('stays with a dead task, which may be redriven, until it is pruned', async () => {
    const [id] = await enqueue(2 * MIB);
    await backend.broker.settle((await take()).map((claim) => ended(claim, 'dead')));
    await backend.broker.redrive(id!);
    await backend.broker.settle([]);
    const [again] = await take();
    assert.ok(body(2 * MIB).equals(await blobs().read(again!.body)));
    await backend.broker.settle([ended(again!, 'dead')]);
    expect(files()).toHaveLength(1);
    await prune();
    await untilFiles(0);
  });

  it('goes when its task is deleted, and when it was cancelled and pruned', async () => {
    const [deleted, cancelled] = await enqueue(2 * MIB, 2 * MIB);
    const [first, second] = await take();
    await backend.broker.settle([
      ended(first!, 'dead'),
      { claim: second!, kind: 'released', suspect: false },
    ]);
    await backend.broker.delete(deleted!);
    await untilFiles(1);
    await backend.broker.cancel(cancelled!, 'why', now, KEEP_MS);
    expect(files()).toHaveLength(1);
    await prune();
    await untilFiles(0);
  });

  it('goes when its task was shed and pruned', async () => {
    const [id] = await enqueue(2 * MIB);
    const shed = backend.broker.shed({ below: 9, most: 5, least: 1, now, keepMs: () => KEEP_MS });
    expect(shed.map((task) => task.id)).toEqual([id]);
    await backend.broker.settle([]);
    // It may be redriven until then.
    expect(files()).toHaveLength(1);
    await prune();
    await untilFiles(0);
  });

  it('is shared by small ones, and goes with the last of them once it is full', async () => {
    await enqueue(...Array.from({ length: 30 }, () => 40_000));
    expect(files()).toHaveLength(2);
    const claims = await take();
    await backend.broker.settle(claims.slice(0, 26).map((claim) => ended(claim, 'completed')));
    await backend.broker.settle([]);
    expect(files()).toHaveLength(2);
    await backend.broker.settle(claims.slice(26, 27).map((claim) => ended(claim, 'completed')));
    await untilFiles(1);
    await backend.broker.settle(claims.slice(27).map((claim) => ended(claim, 'completed')));
    await backend.close();
    expect(files()).toEqual([]);
  });

  it('goes when its task is not enqueued after all', async () => {
    blobs().drop(await blobs().write(body(2 * MIB)));
    await untilFiles(0);
    const task = { name: 'task', queue: 'default', level: 5 } as const;
    const unique = { key: 'k', onConflict: 'keep' } as const;
    for (let round = 0; round < 2; round++) {
      const reference = await blobs().write(body(2 * MIB));
      await backend.broker.enqueue([{ ...task, unique, body: reference }]).accepted;
    }
    await untilFiles(1);
  });

  it('is read to the end although it goes meanwhile', async () => {
    const [id] = await enqueue(8 * MIB);
    await backend.broker.settle((await take()).map((claim) => ended(claim, 'dead')));
    const view = backend.inspect!.get(id!);
    await backend.broker.delete(id!);
    assert.ok(body(8 * MIB).equals((await view)!.body!));
    await untilFiles(0);
  });
});

describe('the files of a flow', () => {
  async function begin(count: number) {
    const intake = backend.flows!.flow({
      retentionMs: { completed: KEEP_MS, dead: KEEP_MS, cancelled: KEEP_MS },
    });
    for (let at = 0; at < count; at++) {
      const task = { name: 'task', queue: 'default', level: 5, body: await blobs().write(body(2 * MIB)) };
      await intake.add([{ kind: 'task', task, after: at === 0 ? [] : [{ label: 'p', from: at - 1 }] }]);
    }
    return intake;
  }

  it('stay until the flow is pruned, whatever its members are kept for', async () => {
    await (await begin(2)).accept();
    for (let at = 0; at < 2; at++) {
      await prune();
      expect(files()).toHaveLength(2);
      await backend.broker.settle((await take()).map((claim) => ended(claim, 'completed')));
    }
    await prune();
    await untilFiles(0);
  });

  it('go when it is abandoned, stored or not', async () => {
    await (await begin(1)).abandon();
    await untilFiles(0);
    const intake = await begin(1);
    const task = { name: 'task', queue: 'default', level: 5, body: body(1) };
    await intake.add(Array.from({ length: 5_000 }, () => ({ kind: 'task', task })));
    await backend.broker.settle([]);
    expect(files()).toHaveLength(1);
    await intake.abandon();
    await untilFiles(0);
  });

  it('go when what came first is refused once more has come', async () => {
    const intake = await begin(1);
    const task = { name: 'task', queue: 'default', level: 5, body: body(1) };
    await intake.add([{ kind: 'task', task: { ...task, unique: { key: 'k', onConflict: 'keep' } } }]);
    const more = Array.from({ length: 5_000 }, () => ({ kind: 'task', task }) as const);
    await expect(intake.add(more)).rejects.toMatchObject({ code: 'ERR_MILLRACE_UNSUPPORTED' });
    await intake.abandon();
    await untilFiles(0);
  });
});

describe('the file of results', () => {
  it('goes with the last of them once the thread is done with it', async () => {
    await backend.broker.enqueue(
      Array.from({ length: 3 }, () => ({ name: 'task', queue: 'default', level: 5, body: body(3) })),
    ).accepted;
    const { results, end } = thread();
    const claims = await take();
    const references = [50_000, 50_000, 2 * MIB].map((size) => results.write(body(size, 9))!);
    await backend.broker.settle(claims.map((claim, at) => ended(claim, 'completed', references[at])));
    results.tell();
    expect(files()).toHaveLength(2);
    assert.ok(body(50_000, 9).equals((await backend.broker.settled(claims[1]!.id)).result!));
    await backend.broker.delete(claims[2]!.id);
    await untilFiles(1);
    await prune();
    end();
    await untilFiles(0);
  });

  it('goes when its thread has died and nobody was told of them', async () => {
    const { results, end } = thread();
    for (let nth = 0; nth < 3; nth++) results.write(body(700_000));
    expect(files()).toHaveLength(2);
    end();
    await untilFiles(0);
  });

  it('that cannot be written leaves the result to go another way', async () => {
    const { results } = thread();
    rmSync(join(folder, 'blobs'), { recursive: true });
    expect(results.write(body(50_000))).toBeUndefined();
    expect(results.write(body(2 * MIB))).toBeUndefined();
  });
});

describe('a store that is opened', () => {
  it('removes files and ends of files that nobody refers to, and no others', async () => {
    const [id] = await enqueue(50_000);
    const [name] = files();
    await backend.close();
    const path = join(folder, 'blobs', name!);
    appendFileSync(path, body(70_000));
    for (const stray of ['0-7.blob', '1z-0.blob', 'zzzz-1k.blob'])
      writeFileSync(join(folder, 'blobs', stray), 'torn');
    writeFileSync(join(folder, 'blobs', 'README'), 'of somebody else');
    await open();
    expect(files()).toEqual([name, 'README'].sort());
    expect(statSync(path).size).toBe(50_000);
    expect(damages).toEqual([]);
    assert.ok(body(50_000).equals((await backend.inspect!.get(id!))!.body!));
    // Names of files that were there are not given again: the last writer was zzzz.
    await enqueue(2 * MIB);
    expect(files()).toContain('10000-0.blob');
  });

  it('reports what is missing or too short, and the rest is served', async () => {
    const ids = await enqueue(2 * MIB, 2 * MIB, 2 * MIB);
    const names = files();
    await backend.close();
    unlinkSync(join(folder, 'blobs', names[0]!));
    writeFileSync(join(folder, 'blobs', names[1]!), body(10));
    await open();
    expect(damages.map(({ message }) => /missing|has 10 bytes/.exec(message)?.[0])).toEqual([
      'missing',
      'has 10 bytes',
    ]);
    const outcomes = await Promise.allSettled(ids.map((id) => backend.inspect!.get(id)));
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
  });
});

describe('a newer owner of the same folder', () => {
  it('writes to files of other names, and the older one removes none of them', async () => {
    const { epoch } = JSON.parse(
      readFileSync(join(folder, readdirSync(folder).find((name) => name.startsWith('epoch-'))!), 'utf8'),
    ) as { epoch?: number };
    const tables = await lmdbTables(join(folder, 'data.mdb'), (epoch ?? 1) + 1);
    const newer = await openBlobFiles(folder, (epoch ?? 1) + 1, tables, (error) => damages.push(error));
    const reference = await newer.write(body(2 * MIB));
    await assert.rejects(enqueue(2 * MIB), { code: 'ERR_MILLRACE_STORE_FENCED' });
    const { end } = thread();
    end();
    await backend.close();
    assert.ok(body(2 * MIB).equals(await newer.read(reference)));
    await newer.close();
    await tables.close();
  });
});

describe('a damaged file', () => {
  async function damage(reference: Uint8Array): Promise<void> {
    const { file, offset } = decodeBlobRef(reference);
    const path = join(folder, 'blobs', file);
    const bytes = readFileSync(path);
    bytes[offset + 20_000]! ^= 1;
    writeFileSync(path, bytes);
  }

  it('is refused with a typed error to the host and to a thread, for the one payload', async () => {
    await enqueue(30_000, 30_000);
    const [first, second] = await take();
    await damage(first!.body);
    await assert.rejects(blobs().read(first!.body), CORRUPT);
    const { results } = thread();
    assert.throws(() => results.decode(first!.body, new Map()), CORRUPT);
    assert.ok(body(30_000).equals(await blobs().read(second!.body)));
  });

  it('leaves its task listed, without its bytes, and lets it be deleted', async () => {
    const [id] = await enqueue(30_000);
    const [claim] = await take();
    await damage(claim!.body);
    await backend.broker.settle([ended(claim!, 'dead')]);
    await assert.rejects(backend.inspect!.get(id!), CORRUPT);
    const { tasks } = await backend.inspect!.list({}, 10);
    expect(tasks.map((task) => [task.id, task.body])).toEqual([[id, undefined]]);
    expect(damages.map((error) => (error as { code?: string }).code)).toEqual([CORRUPT.code]);
    await backend.broker.delete(id!);
    expect((await backend.inspect!.list({}, 10)).tasks).toEqual([]);
  });

  it('of a result is told to those who wait for it', async () => {
    const { tickets, accepted } = backend.broker.enqueue([
      { name: 'task', queue: 'default', level: 5, body: body(3) },
    ]);
    await accepted;
    const waits = [tickets[0]!.settled(), backend.broker.settled(tickets[0]!.id)];
    const refused = waits.map((wait) => assert.rejects(wait, CORRUPT));
    const reference = thread().results.write(body(50_000))!;
    await damage(reference);
    await backend.broker.settle((await take()).map((claim) => ended(claim, 'completed', reference)));
    await Promise.all(refused);
    await assert.rejects(tickets[0]!.settled(), CORRUPT);
  });
});

describe('bounds', () => {
  it('of the store hold for files, too, and let in again what has room', async () => {
    await backend.close();
    await open(6 * MIB);
    let refused: unknown;
    let count = 0;
    for (; refused === undefined; count++) {
      await enqueue(MIB).catch((error) => {
        refused = error;
      });
    }
    expect(refused).toMatchObject({ code: 'ERR_MILLRACE_STORE_FULL', limit: 'maxBytes' });
    expect(count).toBe(6);
    await backend.close();
    await open(6 * MIB);
    await assert.rejects(enqueue(MIB), { code: 'ERR_MILLRACE_STORE_FULL' });
    await backend.broker.settle((await take()).map((claim) => ended(claim, 'completed')));
    await untilFiles(0);
    await backend.close();
    await open(6 * MIB);
    await enqueue(MIB);
  });

  it('of what is on its way are the same as for small ones', async () => {
    await backend.close();
    await open(Number.POSITIVE_INFINITY, 3 * MIB);
    const writes = Array.from({ length: 4 }, () => blobs().write(body(MIB)));
    const ended = await Promise.allSettled(writes);
    expect(ended.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected']);
    expect(ended[3]).toMatchObject({ reason: { code: 'ERR_MILLRACE_QUEUE_FULL' } });
    // A single one may be larger.
    await blobs().write(body(5 * MIB));
  });

  it('end with the backend', async () => {
    await backend.close();
    await assert.rejects(blobs().write(body(20_000)), { code: 'ERR_MILLRACE_STOPPED' });
  });
});
