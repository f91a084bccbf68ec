/** A child process for a test: says what it does in lines, and is gone with the test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach } from 'vitest';
import { fixture } from './harness.js';

const children = new Set<ChildProcess>();

afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
});

export class Child {
  readonly process: ChildProcess;
  readonly lines: string[] = [];
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  #errors = '';
  #isOver = false;
  #looking: (() => void)[] = [];

  /** Runs the compiled fixture `test/fixtures/<name>.ts`. */
  constructor(name: string, ...args: string[]) {
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    this.process = spawn(process.execPath, [fileURLToPath(fixture(name)), ...args], { stdio: [...stdio] });
    children.add(this.process);
    this.process.stderr!.on('data', (chunk) => {
      this.#errors += chunk;
    });
    const lines = createInterface({ input: this.process.stdout! });
    lines.on('line', (line) => {
      this.lines.push(line);
      this.#look();
    });
    this.ended = Promise.all([once(this.process, 'exit'), once(lines, 'close')]).then(([[code, signal]]) => {
      this.#isOver = true;
      children.delete(this.process);
      this.#look();
      return code ?? signal;
    });
  }

  get errors(): string {
    return this.#errors;
  }

  /** Resolves with the line when it has come. @throws when the child ends before. */
  line(start: string): Promise<string> {
    return this.lineCount(start, 1);
  }

  /** Resolves with the last of so many lines. @throws when the child ends before. */
  async lineCount(start: string, count: number): Promise<string> {
    for (;;) {
      const found = this.lines.filter((line) => line.startsWith(start));
      if (found.length >= count) return found[count - 1]!;
      if (this.#isOver)
        throw new Error(`the child ended without "${start}": ${this.lines.join(' ')} ${this.#errors}`);
      await new Promise<void>((resolve) => this.#looking.push(resolve));
    }
  }

  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  #look(): void {
    for (const look of this.#looking.splice(0)) look();
  }
}
