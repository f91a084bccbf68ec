/** What a running handler asks of the host, and how the host's answer goes back to its thread. */
import type { Command, Note } from '../../workers/protocol.js';
import type { PoolListener } from './pool.js';

export interface Asked {
  readonly call: number;
  /** Rejects with what the handler is refused with. */
  readonly answer: () => Promise<Command>;
}

/** `undefined` for a note that only tells something. */
export function answerOf<Token>(note: Note, token: Token, listener: PoolListener<Token>): Asked | undefined {
  if (note.kind === 'parents') {
    const { call, request } = note;
    const answer = async (): Promise<Command> => {
      return { kind: 'parents', call, page: await listener.parents(token, request) };
    };
    return { call, answer };
  }
  if (note.kind !== 'enqueue' || note.call === undefined) return undefined;
  const { call, request } = note;
  const answer = async (): Promise<Command> => {
    return { kind: 'enqueued', call, id: await listener.enqueue(token, request) };
  };
  return { call, answer };
}
