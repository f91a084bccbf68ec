/** The client's end of the socket, with an owner that the test makes up. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProtocolError } from '#src/errors.js';
import { planFlow } from '#src/flow/flow.js';
import { MovingDesk, type OwnersDesk } from '#src/remote/moving-desk.js';
import { MAX_UNSENT_BYTES, PART_BYTES, PROTOCOL } from '#src/remote/protocol.js';
import { type Reached, reachOwner } from '#src/remote/reach.js';
import { frameOf } from '#src/wire/frames.js';
import { rejection } from '../runtime/harness.js';

const WELCOME = {
  ...{ kind: 'welcome', protocol: PROTOCOL, role: 'runtime', handlers: [], codecs: {} },
  ...{ maxPayloadBytes: 2 ** 20, maxBufferBytes: 2 ** 20 },
};

let folder: string;
let server: net.Server;
let owner: net.Socket;
let client: net.Socket;
let reached: Reached;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-reach-'));
  server = net.createServer();
  server.listen(join(folder, 'socket'));
  await once(server, 'listening');
});
afterEach(async () => {
  client.destroy();
  owner.destroy();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The owner has said `first` and reads nothing. */
async function reach(first: unknown): Promise<OwnersDesk> {
  const connected = once(server, 'connection');
  client = net.connect(join(folder, 'socket'));
  [owner] = (await connected) as [net.Socket];
  owner.on('error', () => {});
  owner.pause();
  owner.write(frameOf(first));
  return new Promise((arrived, refused) => {
    reached = reachOwner(client, { codecs: new Map(), now: () => 0, arrived });
    reached.over.catch(refused);
  });
}

describe('a client', () => {
  const COUNT = 50_000;
  const payload = 'x'.repeat(1_000);
  const LARGE: readonly [what: string, put: (desk: OwnersDesk) => Promise<unknown>][] = [
    ['batch', (desk) => desk.enqueueBatch(Array.from({ length: COUNT }, () => ({ name: 'x', payload })))],
    [
      'flow',
      (desk) => {
        const plan = planFlow((f) => {
          for (let at = 0; at < COUNT; at++) f.task('x', payload);
        });
        return desk.flows.enqueue(plan, {});
      },
    ],
  ];
  it.each(LARGE)('puts no more of a large %s together than its owner takes', async (_what, put) => {
    const desk = await reach(WELCOME);
    const batch = put(desk);
    batch.catch(() => {});
    for (let turn = 0; turn < 500; turn++) await new Promise(setImmediate);
    expect(client.writableLength).toBeGreaterThan(MAX_UNSENT_BYTES);
    expect(client.writableLength).toBeLessThan(MAX_UNSENT_BYTES + 4 * PART_BYTES);
    owner.destroy();
    expect((await rejection(batch)).code).toBe('ERR_MILLRACE_DISCONNECTED');
    expect(await reached.over).toBe(true);
  });

  it('goes on reading while its owner does not', async () => {
    const desk = await reach(WELCOME);
    const batch = desk.enqueueBatch(
      Array.from({ length: 20_000 }, () => ({ name: 'x', payload: 'x'.repeat(999) })),
    );
    while (client.writableLength <= MAX_UNSENT_BYTES) await new Promise(setImmediate);
    owner.write(frameOf({ kind: 'failed', call: 1, error: { name: 'Error', message: 'no', code: 'E_NO' } }));
    owner.resume();
    expect(await rejection(batch)).toMatchObject({ code: 'E_NO' });
  });

  it.each([
    ['something else', { kind: 'done', call: 1 }],
    ['another protocol', { ...WELCOME, protocol: 99 }],
  ])('refuses an owner that greets with %s', async (_what, first) => {
    expect(await rejection(reach(first))).toBeInstanceOf(ProtocolError);
  });
});

describe('with no owner to reach', () => {
  const CALLS: readonly [what: string, put: (desk: MovingDesk, signal: AbortSignal) => Promise<unknown>][] = [
    ['an enqueue', (desk, signal) => desk.enqueue('x', 1, { signal })],
    ['a batch', (desk, signal) => desk.enqueueBatch([{ name: 'x', payload: 1, options: { signal } }])],
  ];
  it.each(CALLS)('%s waits until its signal aborts', async (_what, put) => {
    const controller = new AbortController();
    const waiting = put(new MovingDesk(() => 0), controller.signal);
    controller.abort(new Error('enough'));
    expect(await rejection(waiting)).toMatchObject({ message: 'enough' });
  });
});
