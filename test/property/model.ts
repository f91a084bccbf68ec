/**
 * A backend as an array: every verb walks all tasks. Written against the port's words only; it knows nothing
 * of segments, windows or commits.
 */
import type { Head } from '#src/broker/broker.js';
import { laneKind } from '#src/task/lane.js';

export type ModelState =
  | 'scheduled'
  | 'ready'
  | 'running'
  | 'completed'
  | 'dead'
  | 'cancelled'
  | 'deleted'
  | 'pruned';

export interface ModelTask {
  /** Its payload and its identity in the model. */
  readonly text: string;
  readonly name: string;
  readonly queue: string;
  readonly level: number;
  readonly unique?: { readonly key: string; readonly forMs?: number };
  id: string;
  state: ModelState;
  /** Where it stands: `''`, its name when it waits aside, or the lane of its limits. */
  lane: string;
  /** The lane of its limits, `''` for none. */
  own: string;
  /** Place in its line: lower is sooner. */
  order: number;
  /** Waits for its flush before it starts. */
  held: boolean;
  runAt: number;
  failures: number;
  attempts: number;
  expiresAt: number;
  ending: string;
}

export interface ModelDraft {
  readonly text: string;
  readonly name: string;
  readonly queue: string;
  readonly level: number;
  readonly runAt?: number;
  readonly startAfterCommit?: boolean;
  readonly unhandled?: boolean;
  readonly lane?: string;
  readonly unique?: { key: string; forMs?: number; onConflict: 'keep' | 'replace' | 'reject' };
}

const FINAL: readonly ModelState[] = ['completed', 'dead', 'cancelled'];

export class Model {
  tasks: ModelTask[] = [];
  /** Lines that are held, and whether that is certain: without tasks they may have been forgotten. */
  held = new Map<string, boolean>();
  holders: { name: string; key: string; text: string; until: number }[] = [];
  now = 0;
  #order = 0;

  clone(): Model {
    const copy = Object.assign(new Model(), structuredClone({ tasks: this.tasks, holders: this.holders }));
    copy.now = this.now;
    copy.held = new Map(this.held);
    copy.#order = this.#order;
    return copy;
  }

  /** @returns for each draft the text of the task that its ticket must name; `undefined`: all is refused. */
  enqueue(drafts: readonly ModelDraft[]): string[] | undefined {
    const trial = this.clone();
    for (const draft of drafts) {
      const { unique } = draft;
      if (unique?.onConflict === 'reject' && trial.holder(draft.name, unique.key) !== undefined)
        return undefined;
      trial.#add(draft);
    }
    return drafts.map((draft) => this.#add(draft));
  }

  holder(name: string, key: string): ModelTask | undefined {
    const found = this.holders.find((holder) => holder.name === name && holder.key === key);
    if (found === undefined || (found.until > 0 && found.until <= this.now)) return undefined;
    return this.tasks.find((task) => task.text === found.text);
  }

  #add(draft: ModelDraft): string {
    const { text, name, queue, level, unique } = draft;
    if (unique !== undefined) {
      const holder = this.holder(name, unique.key);
      if (holder !== undefined && unique.onConflict !== 'replace') return holder.text;
      if (holder !== undefined) this.cancel(holder, this.now + 86_400_000, 'replaced');
      this.#take(name, unique, text);
    }
    const isLater = draft.runAt !== undefined && draft.runAt > this.now;
    this.tasks.push({
      ...{ text, name, queue, level, id: '', failures: 0, attempts: 0, expiresAt: 0, ending: '' },
      ...(unique === undefined ? {} : { unique: { key: unique.key, ...forMsOf(unique) } }),
      state: isLater ? 'scheduled' : 'ready',
      lane: !isLater && draft.unhandled ? name : (draft.lane ?? ''),
      own: draft.lane ?? '',
      order: ++this.#order,
      held: draft.startAfterCommit === true,
      runAt: draft.runAt ?? 0,
    });
    return text;
  }

  #take(name: string, unique: { key: string; forMs?: number }, text: string): void {
    this.holders = this.holders.filter((holder) => holder.name !== name || holder.key !== unique.key);
    const until = unique.forMs === undefined ? 0 : this.now + unique.forMs;
    this.holders.push({ name, key: unique.key, text, until });
  }

  /** Tasks that are ready, best first within each line. */
  ready(): ModelTask[] {
    const ready = this.tasks.filter((task) => task.state === 'ready');
    return ready.sort((a, b) => b.level - a.level || a.order - b.order);
  }

  /** The first of a task's line and level. */
  firstOfLine(task: ModelTask): ModelTask | undefined {
    return this.ready().find(
      ({ queue, lane, level }) => queue === task.queue && lane === task.lane && level === task.level,
    );
  }

  toEnd(task: ModelTask, lane: string): void {
    task.state = 'ready';
    task.lane = lane;
    task.order = ++this.#order;
  }

  end(task: ModelTask, state: ModelState, expiresAt: number, ending: string): void {
    Object.assign(task, { state, expiresAt, ending });
    if (task.unique === undefined || task.unique.forMs !== undefined) return;
    const key = task.unique.key;
    this.holders = this.holders.filter((holder) => holder.key !== key || holder.text !== task.text);
  }

  cancel(task: ModelTask, expiresAt: number, reason: string): string {
    if (task.state === 'running') return 'running';
    if (task.state === 'deleted' || task.state === 'pruned') return 'ERR_MILLRACE_RESULT_EXPIRED';
    if (FINAL.includes(task.state)) return `final ${task.state}`;
    this.end(task, 'cancelled', expiresAt, reason);
    return 'cancelled';
  }

  redrive(task: ModelTask): string {
    if (task.state === 'deleted' || task.state === 'pruned') return 'ERR_MILLRACE_RESULT_EXPIRED';
    if (task.state !== 'dead' && task.state !== 'cancelled') return 'ERR_MILLRACE_WRONG_STATE';
    if (task.unique !== undefined) {
      const holder = this.holder(task.name, task.unique.key);
      if (holder !== undefined && holder !== task) return 'ERR_MILLRACE_DUPLICATE_TASK';
      if (holder === undefined) this.#take(task.name, task.unique, task.text);
    }
    task.failures = 0;
    this.toEnd(task, task.own);
    return 'done';
  }

  delete(task: ModelTask): string {
    if (task.state === 'deleted' || task.state === 'pruned') return 'ERR_MILLRACE_RESULT_EXPIRED';
    if (!FINAL.includes(task.state)) return 'ERR_MILLRACE_WRONG_STATE';
    task.state = 'deleted';
    return 'done';
  }

  promote(limit: number): number {
    const due = this.tasks.filter((task) => task.state === 'scheduled' && task.runAt <= this.now);
    due.sort((a, b) => a.runAt - b.runAt);
    for (const task of due.slice(0, limit)) this.toEnd(task, task.own);
    return Math.min(due.length, limit);
  }

  waiting(): number {
    return this.tasks.filter(({ state }) => ['ready', 'running', 'scheduled'].includes(state)).length;
  }

  hold(line: string): void {
    this.held.set(line, true);
  }

  /** To be called after each change: a line that has no tasks may be forgotten. */
  looked(): void {
    if (this.held.size === 0) return;
    const used = new Set<string>();
    for (const task of this.tasks) {
      if (task.state === 'ready' || task.state === 'running') used.add(lineOf(task));
    }
    for (const line of this.held.keys()) if (!used.has(line)) this.held.set(line, false);
  }

  /** The owner is gone; what it had in hand waits again where it was. */
  ownerGone(): void {
    for (const task of this.tasks) if (task.state === 'running') task.state = 'ready';
    this.held.clear();
  }

  /** By queue: counts that are not zero. */
  counts(): Record<string, Record<string, number>> {
    const counts: Record<string, Record<string, number>> = {};
    const add = (queue: string, what: string): void => {
      counts[queue] ??= {};
      counts[queue][what] = (counts[queue][what] ?? 0) + 1;
    };
    for (const { queue, state, attempts, lane } of this.tasks) {
      if (state === 'deleted' || state === 'pruned') continue;
      add(queue, state);
      if (state === 'scheduled' && attempts > 0) add(queue, 'retrying');
      if ((state === 'ready' || state === 'running') && laneKind(lane) === 'aside') add(queue, 'unhandled');
    }
    return counts;
  }
}

function forMsOf({ forMs }: { readonly forMs?: number }): { forMs?: number } {
  return forMs === undefined ? {} : { forMs };
}

export function isHeadOf(
  task: ModelTask,
  { queue, lane, level }: Pick<Head, 'queue' | 'lane' | 'level'>,
): boolean {
  return task.queue === queue && task.lane === lane && task.level === level;
}

export function lineOf({ queue, lane }: Pick<Head, 'queue' | 'lane'>): string {
  return `${queue} ${lane}`;
}

export function isKept({ state }: ModelTask): boolean {
  return state === 'completed' || state === 'dead' || state === 'cancelled';
}

export function endOf({ state, ending }: ModelTask): string {
  return `${state} ${ending}`;
}
