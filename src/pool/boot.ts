/** The first answer of a thread or child, in bounded time: which handlers it has, or why it has none. */
import type { LoadReply } from '../../workers/protocol.js';
import { TasksModuleError } from '../errors.js';
import { reviveError } from '../task/stored-error.js';
import type { HandlerInfo } from './pool.js';
import type { ThreadSetup } from './thread.js';

/** What boots. */
export interface Booting {
  terminate(): void;
  /** Resolves when it has ended; only called when it ends without an answer. */
  whyEnded(): Promise<{ readonly why: string; readonly cause: ErrorOptions }>;
}

/** @throws {TasksModuleError} */
export async function bootAnswer(
  { modules, clock, bootTimeoutMs }: ThreadSetup,
  answer: Promise<LoadReply>,
  booting: Booting,
): Promise<readonly HandlerInfo[]> {
  const where = modules[0] ?? 'of this runtime';
  let overdue = false;
  const disarm = clock.arm(bootTimeoutMs, () => {
    overdue = true;
    booting.terminate();
  });
  try {
    const reply = await answer.catch(async () => {
      // An overdue thread may be stuck in native code and never exit.
      if (overdue) throw new TasksModuleError(where, `it was not imported within ${bootTimeoutMs} ms`);
      const { why, cause } = await booting.whyEnded();
      throw new TasksModuleError(where, why, cause);
    });
    return handlersOf(reply);
  } finally {
    disarm();
  }
}

/** The handlers that have been imported. @throws {TasksModuleError} when they could not be. */
export function handlersOf(reply: LoadReply): readonly HandlerInfo[] {
  if (reply.ok) return reply.handlers;
  const cause = reply.error === undefined ? {} : { cause: reviveError(reply.error) };
  throw new TasksModuleError(reply.url, reply.why, cause);
}
