/**
 * What happens when files of large payloads cannot be written or made durable, and the order of what happens
 * when they can: bytes first, then the commit that refers to them, then the removal of what it does not need.
 */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Backend } from '#src/broker/broker.js';
import type { BlobFiles } from '#src/broker/embedded/blobs.js';
import { openEmbedded } from '#src/broker/embedded/broker.js';
import { memoryTables } from '#src/broker/embedded/memory-tables.js';
import { StoreFullError } from '#src/errors.js';
import { encodeBlobRef } from '#src/task/blob-ref.js';
import { completed } from './settlements.js';

const FENCED = { code: 'ERR_MILLRACE_STORE_FENCED' };

/** Files that hold nothing, say what is done to them, and fail when told to. */
class LoggedFiles implements BlobFiles {
  readonly folder = 'nowhere';
  readonly log: string[] = [];
  usedBytes = 0;
  onClosed: (file: string) => void = () => {};
  failWrite: Error | undefined;
  failSync: Error | undefined;
  endRead: () => void = () => {};
  #serial = 0;

  async write(bytes: Uint8Array): Promise<Uint8Array> {
    if (this.failWrite !== undefined) throw this.failWrite;
    this.log.push(`write ${this.#serial}`);
    return encodeBlobRef({ writer: 0, serial: this.#serial++ }, 0, bytes.length, 0);
  }
  /** Ends when the test says so. */
  read(): Promise<Uint8Array> {
    this.log.push('read');
    return new Promise((resolve) => {
      this.endRead = () => {
        this.log.push('read to the end');
        resolve(Buffer.alloc(20_000));
      };
    });
  }
  async sync(files: readonly string[], areNew: boolean): Promise<void> {
    this.log.push(`sync ${files.join()}${areNew ? ' and names' : ''}`);
    await setImmediate();
    if (this.failSync !== undefined) throw this.failSync;
    this.log.push('synced');
  }
  isClosed(): boolean {
    return true;
  }
  remove(file: string): void {
    this.log.push(`remove ${file}`);
  }
  openWriter(): number {
    return 1;
  }
  closeWriter(): void {}
  async close(): Promise<void> {}
}

function open(): { readonly backend: Backend; readonly files: LoggedFiles } {
  const files = new LoggedFiles();
  const tables = memoryTables();
  const commit = async (before?: Promise<void>): Promise<void> => {
    await before;
    files.log.push('commit');
  };
  const backend = openEmbedded({
    ...{ kind: 'test', lacks: {}, tables: { ...tables, commit }, where: 'here', storeNumber: 1 },
    ...{ now: () => 1_000, limits: { maxPendingEnqueues: 1_000, maxPendingBytes: 1e9 }, blobFiles: files },
  });
  return { backend, files };
}

async function draft({ blobs }: Backend) {
  const body = await blobs!.write(Buffer.alloc(20_000));
  return { name: 'task', queue: 'default', level: 5, body };
}

describe('a large payload', () => {
  it('is durable before the commit that refers to it, and removed after the one that does not', async () => {
    const { backend, files } = open();
    await backend.broker.enqueue([await draft(backend), await draft(backend)]).accepted;
    const claims = await backend.broker.claim(() => 'take', 10);
    await backend.broker.settle(
      claims.map((claim) => ({ ...completed(claim), result: Buffer.from('x') }) as never),
    );
    expect(files.log).toEqual([
      ...['write 0', 'write 1', 'sync 0-0.blob,0-1.blob and names', 'synced', 'commit'],
      ...['commit', 'remove 0-0.blob', 'remove 0-1.blob'],
    ]);
    await backend.close();
  });

  it('does not start before it is durable, nor does what stands behind it', async () => {
    const { backend } = open();
    const { accepted } = backend.broker.enqueue([
      await draft(backend),
      { name: 'small', queue: 'default', level: 5, body: Buffer.from('x') },
    ]);
    assert.deepEqual(await backend.broker.claim(() => 'take', 10), []);
    await accepted;
    expect(await backend.broker.claim(() => 'take', 10)).toHaveLength(2);
    await backend.close();
  });

  async function dead(backend: Backend): Promise<{ readonly id: string; readonly body: Uint8Array }> {
    await backend.broker.enqueue([await draft(backend)]).accepted;
    const [claim] = await backend.broker.claim(() => 'take', 1);
    const { body, id } = claim!;
    const kept = Uint8Array.from(body);
    await backend.broker.settle([{ ...completed(claim!), kind: 'dead', reason: 'why' } as never]);
    return { id, body: kept };
  }

  it('that is being read is removed after that', async () => {
    const { backend, files } = open();
    const { id, body } = await dead(backend);
    files.log.length = 0;
    const read = backend.blobs!.read(body);
    await backend.broker.delete(id);
    files.endRead();
    await read;
    expect(files.log).toEqual(['read', 'commit', 'read to the end', 'remove 0-0.blob']);
    await backend.close();
  });

  it('that was read is not removed before the commit that says that it may go', async () => {
    const { backend, files } = open();
    const { id, body } = await dead(backend);
    files.log.length = 0;
    const read = backend.blobs!.read(body);
    const deleted = backend.broker.delete(id);
    files.endRead();
    await read;
    await deleted;
    expect(files.log).toEqual(['read', 'read to the end', 'commit', 'remove 0-0.blob']);
    await backend.close();
  });

  it('costs other commits nothing', async () => {
    const { backend, files } = open();
    await backend.broker.enqueue([await draft(backend)]).accepted;
    files.log.length = 0;
    await backend.broker.enqueue([{ name: 'small', queue: 'default', level: 5, body: Buffer.from('x') }])
      .accepted;
    expect(files.log).toEqual(['commit']);
    await backend.close();
  });
});

describe('a file that cannot be', () => {
  it('written for lack of room refuses its payload, and nothing else', async () => {
    const { backend, files } = open();
    files.failWrite = new StoreFullError('nowhere', 'minFreeBytes', -1, 0);
    await assert.rejects(draft(backend), { code: 'ERR_MILLRACE_STORE_FULL' });
    files.failWrite = undefined;
    await backend.broker.enqueue([await draft(backend)]).accepted;
    await backend.close();
  });

  it('written for another reason fences the store', async () => {
    const { backend, files } = open();
    const told: Error[] = [];
    backend.broker.onFenced((error) => told.push(error));
    files.failWrite = new Error('EIO: i/o error, write');
    await assert.rejects(draft(backend), FENCED);
    while (told.length === 0) await setImmediate();
    expect(told[0]).toMatchObject({ ...FENCED, message: expect.stringContaining('EIO') });
    assert.throws(() => backend.broker.enqueue([]), FENCED);
    await backend.close();
  });

  it('made durable fences the store, and nothing was accepted', async () => {
    const { backend, files } = open();
    files.failSync = new Error('EIO: i/o error, fdatasync');
    await assert.rejects(backend.broker.enqueue([await draft(backend)]).accepted, FENCED);
    expect(files.log).not.toContain('commit');
    await assert.rejects(draft(backend), FENCED);
    await backend.close();
  });
});
