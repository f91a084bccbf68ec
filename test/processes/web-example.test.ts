/** The example of web servers and a worker, as a user runs it; each is killed and restarted in the middle. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, it } from 'vitest';
import { freshStore } from './members.js';

const processes = new Set<ChildProcess>();

afterEach(async () => {
  await Promise.all([...processes].map((each) => kill(each)));
});

/** Starts an example and resolves with it, and with the line that it prints when it is up. */
async function run(name: string, ...args: string[]): Promise<{ process: ChildProcess; line: string }> {
  const started = spawn(process.execPath, [resolve(`dist/examples/${name}.js`), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  processes.add(started);
  const [line] = (await once(createInterface({ input: started.stdout! }), 'line')) as [string];
  return { process: started, line };
}

async function kill(each: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
  processes.delete(each);
  if (each.exitCode !== null || each.signalCode !== null) return each.exitCode;
  const gone = once(each, 'exit');
  each.kill(signal);
  return (await gone)[0] as number | null;
}

class Web {
  readonly process: ChildProcess;
  readonly #origin: string;

  static async start(backend: string): Promise<Web> {
    const { process: started, line } = await run('02-web-server', '0', backend);
    return new Web(started, `http://localhost:${/\d+$/.exec(line)![0]}`);
  }

  constructor(started: ChildProcess, origin: string) {
    this.process = started;
    this.#origin = origin;
  }

  async post(text: string, rounds: number): Promise<{ id: string; isNew: boolean }> {
    const response = await fetch(`${this.#origin}/seals/${text}?rounds=${rounds}`, {
      method: 'POST',
      body: text,
    });
    expect(response.status).toBe(202);
    return (await response.json()) as { id: string; isNew: boolean };
  }

  async get(id: string): Promise<{ state: string; result?: string }> {
    const response = await fetch(`${this.#origin}/seals/${id}`);
    expect(response.status).toBe(200);
    return (await response.json()) as { state: string; result?: string };
  }

  /** The result, whenever it comes. */
  async result(id: string): Promise<string> {
    for (;;) {
      const { state, result } = await this.get(id);
      if (state === 'completed') return result!;
      expect(['ready', 'running', 'retrying']).toContain(state);
    }
  }
}

function seal(text: string, rounds: number): string {
  let sealed = text;
  for (let round = 0; round < rounds; round++) sealed = createHash('sha256').update(sealed).digest('hex');
  return sealed;
}

describe('a web server that enqueues and a worker that runs', { timeout: 120_000 }, () => {
  it('lose nothing, whichever of them is killed and restarted', async () => {
    const backend = freshStore();
    const rounds = 20;
    const accepted = new Map<string, string>();
    const post = async (web: Web, from: number): Promise<void> => {
      const texts = Array.from({ length: 50 }, (_, at) => `text-${from + at}`);
      await Promise.all(
        texts.map(async (text) => void accepted.set((await web.post(text, rounds)).id, text)),
      );
    };
    // No worker yet: it is accepted all the same.
    let web = await Web.start(backend);
    await post(web, 0);
    expect(await web.get([...accepted.keys()][0]!)).toMatchObject({ state: 'ready' });
    let worker = await run('02-web-worker', backend);
    await post(web, 100);
    // The worker dies with a request under way, and is started again.
    const during = post(web, 200);
    await kill(worker.process);
    worker = await run('02-web-worker', backend);
    await during;
    // The web server dies and is started again: it knows the tasks of the one before.
    await kill(web.process);
    web = await Web.start(backend);
    await post(web, 300);
    // A deploy: the next worker waits for the folder while the old one ends in order.
    const next = run('02-web-worker', backend);
    expect(await kill(worker.process, 'SIGTERM')).toBe(0);
    await next;
    await post(web, 400);
    expect(accepted.size).toBe(250);
    for (const [id, text] of accepted) expect(await web.result(id)).toBe(seal(text, rounds));
    expect(await web.post('text-0', rounds)).toMatchObject({ isNew: false });
    expect(await kill(web.process, 'SIGTERM')).toBe(0);
    expect(await kill((await next).process, 'SIGTERM')).toBe(0);
  });
});
