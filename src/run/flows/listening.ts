/** What flows do by themselves, passed on to the loops: due times, the look for idleness, and events. */
import type { FlowNews, Flows } from '../../broker/flows.js';
import type { EpochMs } from '../../clock.js';
import type { Events, RuntimeEvent } from '../events.js';
import type { Idle } from '../idle.js';
import type { Promoter } from '../promoter.js';

export interface FlowListeningParts {
  readonly events: Events;
  readonly idle: Idle;
  readonly promoter: Promoter;
  readonly now: () => EpochMs;
}

const KINDS = ['dead', 'cancelled', 'flow'] as const;

export function listenToFlows(flows: Flows, { events, idle, promoter, now }: FlowListeningParts): void {
  flows.listen({
    due: (at) => promoter.due(at),
    moved: () => idle.look(),
    wantsNews: () => KINDS.some((kind) => events.wants(kind)),
    news: (news) => {
      const at = now();
      // The settlement that led to it was flushed with it, and is told before.
      setImmediate(() => {
        for (const each of news) events.tell(eventOf(each, at));
      });
    },
  });
}

function eventOf(news: FlowNews, at: EpochMs): RuntimeEvent {
  if (news.kind === 'flow') {
    const { id: flowId, state, total, completed, dead, cancelled } = news.flow;
    return { kind: 'flow', flowId, state, total, completed, dead, cancelled, at };
  }
  const { id: taskId, name, queue, state: kind, reason } = news;
  const of = { taskId, name, queue, reason, at };
  return kind === 'dead' ? { kind, ...of, error: undefined } : { kind, ...of };
}
