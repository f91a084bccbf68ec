/**
 * How flows come in. A small one is kept until it is accepted, checked, and put with one commit, as a batch
 * is. A larger one is put part by part, all of it blocked, under a flow that says `staging`; the commit that
 * accepts it says `running`, and what waits for nothing is let go from there on, slice by slice.
 */
import { DuplicateTaskError, QueueFullError, StoppedError, UnsupportedError } from '../../../errors.js';
import { formatId, parseId } from '../../../task/id.js';
import { NO_UNIQUE_IN_STAGE, type Ticket, type Tickets } from '../../broker.js';
import {
  type AcceptedFlow,
  type FlowHead,
  type FlowIntake,
  type FlowNode,
  MAX_OUTSIDE_PARENTS,
} from '../../flows.js';
import { flowIdOf } from '../claim.js';
import type { Core } from '../core.js';
import type { Finals } from '../finals.js';
import { checkNames, type Intake, MAX_BATCH_BYTES, metasOf, mustWait } from '../intake.js';
import { taskKey } from '../keys.js';
import { IdTicket, StagedTicket } from '../tickets.js';
import type { Uniques } from '../uniques.js';
import type { FlowBook } from './book.js';
import { bytesOf, checkHead, FlowChecks, outsideOf, rowsOf, tasksOf } from './checks.js';
import { keysKey } from './errands.js';
import type { FlowGraph } from './graph.js';
import { stateOutside } from './members.js';
import { FlowPlacing, type NodeIds } from './placing.js';
import { sealKeys } from './rows.js';
import type { FlowWork } from './work.js';

/** Flows being taken in at once. */
const MAX_INTAKES = 16;
/** A commit is waited for after so many nodes and edges, or so many bytes of payloads. */
const SLICE_ROWS = 500;
const SLICE_BYTES = 4 * 1024 * 1024;

export interface IntakeParts {
  readonly core: Core;
  readonly book: FlowBook;
  readonly graph: FlowGraph;
  readonly work: FlowWork;
  readonly uniques: Uniques;
  readonly intake: Intake;
  readonly finals: Finals;
  /** Flows that are being taken in now. */
  open: number;
}

export class EmbeddedFlowIntake implements FlowIntake {
  readonly #parts: IntakeParts;
  readonly #head: FlowHead;
  readonly #checks = new FlowChecks();
  #waiting: FlowNode[] = [];
  #bytes = 0;
  #rows = 0;
  #staged: FlowPlacing | undefined;
  #number = 0;
  #slice = { rows: 0, bytes: 0 };
  #written: Promise<void> = Promise.resolve();
  #isOver = false;
  #abandoned: Promise<void> | undefined;

  /** @throws {InvalidArgumentError} {@link QueueFullError} {@link StoreFencedError} */
  constructor(parts: IntakeParts, head: FlowHead) {
    parts.core.commits.check();
    checkHead(head);
    if (parts.open >= MAX_INTAKES) {
      throw new QueueFullError('Flows that are being taken in', parts.open + 1, MAX_INTAKES);
    }
    this.#parts = parts;
    this.#head = head;
    parts.open++;
  }

  async add(nodes: readonly FlowNode[]): Promise<void> {
    this.#checkOpen();
    this.#checks.check(nodes);
    const bytes = bytesOf(nodes);
    const rows = nodes.reduce((sum, node) => sum + rowsOf(node), 0);
    const isSmall = this.#rows + rows <= this.#parts.core.flowRows;
    if (this.#staged === undefined && isSmall && this.#bytes + bytes <= MAX_BATCH_BYTES) {
      this.#waiting.push(...nodes);
      this.#bytes += bytes;
      this.#rows += rows;
      return;
    }
    this.#staged ??= this.#begin(true);
    if (this.#waiting.length > 0) await this.#stage(this.#staged, this.#waiting);
    // Not before: if that was refused, `abandon` lets go of their payloads.
    this.#waiting = [];
    await this.#stage(this.#staged, nodes);
  }

  async accept(): Promise<AcceptedFlow> {
    this.#checkOpen();
    this.#checks.checkEnd();
    const placing = this.#staged ?? this.#placeAll();
    this.#end();
    const { core, book } = this.#parts;
    this.#putKeys(placing.ids);
    const id = flowIdOf(core.storeNumber, this.#number);
    const nodes = this.#tickets(placing);
    if (this.#staged === undefined) {
      const accepted = core.commits.accepted(placing.ids.length, this.#bytes);
      this.#start(placing);
      await accepted;
    } else {
      book.change(this.#number, { phase: 'running', planned: placing.ids.length });
      const accepted = core.commits.accepted(1, 0);
      this.#parts.work.begin(this.#number, 'start');
      await accepted;
    }
    return { id, nodes };
  }

  abandon(): Promise<void> {
    if (!this.#isOver) {
      this.#end();
      this.#abandoned = this.#abandon();
    }
    return this.#abandoned ?? Promise.resolve();
  }

  async #abandon(): Promise<void> {
    const { core, book, work } = this.#parts;
    for (const { body } of tasksOf(this.#waiting)) core.blobs?.drop(body);
    this.#waiting = [];
    if (this.#staged === undefined || core.commits.ended !== undefined) return;
    book.change(this.#number, { phase: 'deleted' });
    work.begin(this.#number, 'delete');
    while (core.commits.ended === undefined && work.errandOf(this.#number) !== undefined) await work.idle();
    await core.commits.flushed().catch(() => {});
  }

  #end(): void {
    this.#isOver = true;
    this.#parts.open--;
  }

  /** @throws {StoppedError} */
  #checkOpen(): void {
    this.#parts.core.commits.check();
    if (this.#isOver) throw new StoppedError('The flow');
  }

  #begin(isStaged: boolean): FlowPlacing {
    const { core, book, work } = this.#parts;
    const { name = '', retentionMs } = this.#head;
    this.#number = core.nextSegment++;
    const counts = {
      total: 0,
      blocked: 0,
      completed: 0,
      dead: 0,
      cancelled: 0,
      deadEnds: 0,
      cancelledEnds: 0,
    };
    book.put({
      ...{
        number: this.#number,
        name,
        retentionMs,
        createdAt: core.now(),
        chunks: [this.#number],
        nodes: 0,
        planned: 0,
      },
      ...{ phase: 'staging', reason: '', ...counts, settledAt: 0, expiresAt: 0 },
    });
    if (isStaged) work.begin(this.#number, 'stage');
    return new FlowPlacing(this.#parts, this.#number, isStaged);
  }

  /** All of it, in this turn, or nothing. */
  #placeAll(): FlowPlacing {
    const { intake } = this.#parts;
    const nodes = this.#waiting;
    const tasks = tasksOf(nodes);
    this.#checkOutside(nodes);
    const seen = new Set<string>();
    for (const { name, unique } of tasks) {
      if (unique === undefined) continue;
      const key = `${name}\0${unique.key}`;
      if (unique.onConflict !== 'keep' && seen.has(key)) {
        throw new DuplicateTaskError(unique.key, 'of the same flow');
      }
      seen.add(key);
    }
    intake.check(tasks);
    intake.checkBounds(tasks);
    this.#waiting = [];
    const placing = this.#begin(false);
    for (const node of nodes) {
      if (node.kind === 'task') placing.putTask(node);
      else for (const _ of placing.putJoin(node));
    }
    return placing;
  }

  /** Lets go what waits for nothing, in the order of its nodes. */
  #start({ ids, roots, due }: FlowPlacing): void {
    const { core, book, graph, work } = this.#parts;
    book.change(this.#number, { phase: 'running', planned: ids.length });
    for (const { record, task } of roots) {
      if (mustWait(task)) core.commits.turn.held.add(taskKey(record.segment, record.index));
      graph.place(record, task.unhandled === true ? task.name : undefined);
    }
    for (const key of due) {
      const node = graph.node(key);
      if (node !== undefined) graph.decide(key, node);
    }
    work.advance();
    book.endIfOver(this.#number);
    core.wake();
  }

  async #stage(placing: FlowPlacing, nodes: readonly FlowNode[]): Promise<void> {
    const tasks = tasksOf(nodes);
    if (tasks.some(({ unique }) => unique !== undefined)) {
      throw new UnsupportedError('unique keys in large flows', NO_UNIQUE_IN_STAGE);
    }
    this.#checkOutside(nodes);
    checkNames(this.#parts.core, tasks);
    metasOf(tasks);
    this.#parts.intake.checkSpace(tasks.length, bytesOf(nodes));
    for (const node of nodes) {
      if (node.kind === 'task') {
        placing.putTask(node);
        if (this.#isSliceFull(rowsOf(node), node.task.body.length)) await this.#nextSlice();
      } else {
        for (const _ of placing.putJoin(node)) if (this.#isSliceFull(1, 0)) await this.#nextSlice();
      }
    }
    this.#parts.core.commits.changed();
  }

  /** Some more nodes or edges were put. */
  #isSliceFull(rows: number, bytes: number): boolean {
    this.#slice.rows += rows;
    this.#slice.bytes += bytes;
    const most = Math.min(SLICE_ROWS, this.#parts.core.flowRows);
    return this.#slice.rows >= most || this.#slice.bytes >= SLICE_BYTES;
  }

  /** Resolves when more may be put: one slice is flushed while the next one is made. */
  async #nextSlice(): Promise<void> {
    this.#slice = { rows: 0, bytes: 0 };
    const before = this.#written;
    this.#written = this.#parts.core.commits.changed();
    this.#written.catch(() => {});
    await before;
    this.#checkOpen();
  }

  /** @throws {UnknownTaskError} {@link ResultExpiredError} {@link QueueFullError} */
  #checkOutside(nodes: readonly FlowNode[]): void {
    const { core, book, graph } = this.#parts;
    const ids = new Set(outsideOf(nodes));
    if (ids.size === 0) return;
    for (const id of ids) stateOutside(core, book, parseId(id)!);
    if (graph.outside.size + ids.size > MAX_OUTSIDE_PARENTS) {
      const count = graph.outside.size + ids.size;
      throw new QueueFullError('Tasks that members of flows wait for', count, MAX_OUTSIDE_PARENTS);
    }
  }

  #putKeys(ids: NodeIds): void {
    const { keys } = this.#checks;
    if (keys.size === 0) return;
    const named = new Map(Array.from(keys, ([key, place]) => [key, ids.at(place).slice()]));
    this.#parts.core.tables.put('flow', keysKey(this.#number), sealKeys(named));
  }

  #tickets({ ids, outside, joins }: FlowPlacing): Tickets {
    const { finals } = this.#parts;
    return {
      length: ids.length,
      ticket: (at): Ticket => {
        if (joins.has(at)) throw new RangeError(`node ${at} is a join`);
        const id = ids.at(at);
        return outside.has(at) ? new IdTicket(formatId(id), false, finals) : new StagedTicket(id, 0, finals);
      },
    };
  }
}
