/** How a task looks to `get` and `list`, wherever it is kept. */
import { formatId, ID_BYTES } from '../../task/id.js';
import type { TaskView } from '../../task/task.js';
import { type EmbeddedClaim, FLAG_LANE, flowIdOf, type IdParts, writeId } from './claim.js';
import type { Core } from './core.js';
import { PLAIN_LANE, readU16, readU48, taskKey } from './keys.js';
import type { Location } from './locating.js';
import { decodeNote, type TaskRecord } from './record.js';
import { homeOf, type RowHeader, type UnpackedResult } from './rows.js';
import type { FreshResult, Segment } from './segment.js';

type DoneView = { readonly id: string; readonly queue: number; readonly level: number };

export class Views {
  readonly #core: Core;
  readonly #unstarted: (claim: EmbeddedClaim) => boolean;

  /** @param unstarted  Whether a claimed task has not started yet: it still counts as ready. */
  constructor(core: Core, unstarted: (claim: EmbeddedClaim) => boolean) {
    this.#core = core;
    this.#unstarted = unstarted;
  }

  of(found: Location, id: string): TaskView {
    if (found.kind === 'record') return this.ofRecord(found.record);
    if (found.kind === 'place') return this.ofPlace(found.segment, found.index);
    return this.#ofDone({ id, queue: found.id.queue, level: found.id.level }, found.result);
  }

  /** With the bytes in place of references to them; see `EmbeddedBlobs`. */
  async whole(view: TaskView, ifDamaged: 'throw' | 'omit'): Promise<TaskView> {
    return this.#core.blobs?.wholeView(view, ifDamaged) ?? view;
  }

  ofPlace(segment: Segment, index: number): TaskView {
    const fresh = segment.fresh.find((entry) => entry.index === index);
    const held = segment.claims[index];
    const claim = held ?? this.#core.newClaim(segment, index);
    if (fresh !== undefined) return this.#ofFresh(claim, fresh);
    const state = held !== undefined && !this.#unstarted(held) ? 'running' : 'ready';
    const { name, queue, level, createdAt, body, record, tally, lane } = claim;
    const row = this.#core.tables.get('note', claim.key);
    const note = row === undefined ? undefined : this.#core.tryRead(() => decodeNote(row));
    const progress = note?.progress ?? record?.progress;
    return {
      ...{ id: claim.id, name, queue, priority: level, state, createdAt, body },
      ...{ unhandled: lane === name, failures: tally.failures, crashes: tally.crashes },
      attempts: record?.attempts ?? [],
      logs: note?.logs ?? record?.logs ?? [],
      ...(claim.flow === undefined ? {} : { flow: claim.flow }),
      ...(claim.options === undefined ? {} : { options: claim.options }),
      ...(claim.schedule === undefined ? {} : { schedule: claim.schedule }),
      ...(progress === undefined ? {} : { progress }),
    };
  }

  ofRecord(record: TaskRecord): TaskView {
    const at = this.#core.refPlaces.get(taskKey(record.segment, record.index));
    if (at !== undefined && record.state === 'ready') return this.ofPlace(at.segment, at.index);
    const { name, queue, level, state, createdAt, attempts, tally, logs, body } = record;
    return {
      ...{
        id: formatId(record.idBytes),
        name,
        queue,
        priority: level,
        state,
        createdAt,
        attempts,
        logs,
        body,
      },
      ...{
        unhandled: state === 'ready' && record.lane === name,
        failures: tally.failures,
        crashes: tally.crashes,
      },
      ...(state === 'scheduled' ? { nextAttemptAt: record.runAt } : {}),
      ...(record.meta.options === undefined ? {} : { options: record.meta.options }),
      ...(record.meta.schedule === undefined ? {} : { schedule: record.meta.schedule }),
      ...(record.meta.flow === undefined
        ? {}
        : { flow: flowIdOf(this.#core.storeNumber, record.meta.flow.number) }),
      ...(record.settledAt === 0 ? {} : { settledAt: record.settledAt }),
      ...(record.reason === '' ? {} : { reason: record.reason }),
      ...(record.progress === undefined ? {} : { progress: record.progress }),
      ...(record.result === undefined ? {} : { result: record.result }),
    };
  }

  /** The task at place `nth` of a done row. */
  ofResult(key: string, nth: number, header: RowHeader, result: UnpackedResult): TaskView {
    const home = homeOf(header);
    const parts: IdParts = {
      store: this.#core.storeNumber,
      segment: readU48(key, 0),
      index: readU16(key, 6) + nth,
      queue: readU16(home, 0),
      level: 9 - home.charCodeAt(10),
      flags: home.slice(2, 10) === PLAIN_LANE ? 0 : FLAG_LANE,
    };
    const id = new Uint8Array(ID_BYTES);
    writeId(id, 0, parts);
    return this.#ofDone({ id: formatId(id), queue: parts.queue, level: parts.level }, result);
  }

  /** Settled, and on its way into a done row. */
  #ofFresh(claim: EmbeddedClaim, fresh: FreshResult): TaskView {
    const { createdAt, segment, level, id } = claim;
    const done = { ...fresh, createdAt, statusAt: 0 };
    return this.#ofDone({ id, queue: segment.line.line.queue, level }, done);
  }

  /** A done row keeps no payload: what completed at its first attempt left only its result. */
  #ofDone({ id, queue, level }: DoneView, result: UnpackedResult): TaskView {
    const { startedAt, runMs, settledAt, createdAt } = result;
    return {
      ...{
        id,
        name: this.#core.taskName(result.name),
        queue: this.#core.queueNames.name(queue),
        priority: level,
      },
      ...{ state: 'completed', unhandled: false, createdAt, failures: 0, crashes: 0, settledAt, logs: [] },
      attempts: [{ attempt: 1, startedAt, runMs, outcome: 'completed' }],
      result: new Uint8Array(result.result),
    };
  }
}
